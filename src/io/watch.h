/* watch.h - noticing that files changed, as editors change them.
 *
 * Directories are watched, never files: a file's own watch ends with the first save that
 * renames a new file over it. Events only start a look: after a pause without any, the files
 * are compared by content with what they held before, so that one save, however many events it
 * makes, is one change, and touching a file is none. */
#ifndef RL_IO_WATCH_H
#define RL_IO_WATCH_H

#include "io/loop.h"

typedef struct rl_watch rl_watch;
typedef void rl_watch_fn(void *arg); /* some file is not what it was */

rl_watch *rl_watch_open(rl_loop *loop, rl_watch_fn *fn, void *arg);
/* From now on these files (n paths, copied), and what they hold now. */
void rl_watch_set(rl_watch *w, char *const *paths, size_t n);
void rl_watch_close(rl_watch *w); /* NULL is fine */

#endif
