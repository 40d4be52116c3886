/* batch.h - many receives or sends in one system call, where the kernel has io_uring.
 *
 *     rl_batch_add(b, fd, p, n, owner);    as often as there are sockets that want it
 *     rl_batch_run(b);                     now it is done, and each owner is told
 *
 * Where there is no io_uring (an old kernel, a sandbox that forbids it, RILLE_IO_URING=0 in the
 * environment), and for one alone, it is recv(2) or send(2). Nothing ever waits: a socket that is
 * not ready is told as -EAGAIN, one that takes less as a short count. The bytes must stay where
 * they are until their owner is told. Owners are told from rl_batch_run(), when nothing is under
 * way any more: they may do as they like, but add to a batch only when it is done. */
#ifndef RL_IO_BATCH_H
#define RL_IO_BATCH_H

#include "base/base.h"

#include <sys/types.h>

#define RL_BATCH_MAX 64 /* more save nothing: the call is paid for by then */

typedef struct rl_batch rl_batch;
typedef enum rl_batch_kind { RL_BATCH_RECV, RL_BATCH_SEND } rl_batch_kind;

/* n: bytes received or taken, or -errno. */
typedef void rl_batch_fn(void *owner, char *p, ssize_t n);

rl_batch *rl_batch_new(rl_batch_kind kind, rl_batch_fn *fn);
void rl_batch_free(rl_batch *b);

/* Only ever from one thread. */
void rl_batch_add(rl_batch *b, int fd, char *p, size_t n, void *owner); /* not when it is full */
unsigned rl_batch_len(const rl_batch *b);
void rl_batch_run(rl_batch *b);

#endif
