/* directory.h - how many members each group has on one worker, for all workers to read.
 *
 * Keys are hashes of 64 bits, keyed at random, so that two groups share one as good as never. One
 * thread writes; any may read, at any time and without a lock. What a writer has counted before
 * the reader began is seen. */
#ifndef RL_LAYER_DIRECTORY_H
#define RL_LAYER_DIRECTORY_H

#include "base/base.h"

#include <stdatomic.h>

/* A zeroed struct is an empty directory. */
typedef struct rl_directory {
    _Atomic(struct rl_directory_table *) table;
} rl_directory;

void rl_directory_fini(rl_directory *d); /* nobody reads any more */

void rl_directory_add(rl_directory *d, uint64_t key, int members); /* or take away */
unsigned rl_directory_count(rl_directory *d, uint64_t key);

#endif
