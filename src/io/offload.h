/* offload.h - work that would hold a loop up, done on a few threads of its own.
 *
 * What it is for: private-key operations of TLS handshakes (an RSA-4096 signature takes 4 ms,
 * as long as two thousand echoed messages). libuv's own four threads look up names and files for
 * everybody; a storm of handshakes must not stand in front of those. First come, first served. */
#ifndef RL_IO_OFFLOAD_H
#define RL_IO_OFFLOAD_H

#include "base/err.h"
#include "io/loop.h"

typedef struct rl_offload rl_offload;
typedef struct rl_work rl_work;

struct rl_work {
    void (*fn)(rl_work *w);   /* on one of the threads */
    void (*done)(rl_work *w); /* afterwards, on the loop; the memory is its to free */
    rl_loop *loop;
    rl_post post;
    rl_list link;
};

/* As many threads as there are cores, at most four. They take no signals. */
int rl_offload_open(rl_offload **out, rl_err *err) RL_MUST_USE;
void rl_offload_close(rl_offload *o); /* nothing may be under way; NULL is fine */

/* From any thread. The loop must live until `done` was called. */
void rl_offload_do(rl_offload *o, rl_work *w);

#endif
