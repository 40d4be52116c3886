/* listener.h - accepting connections from sockets that are bound (io/bind.h).
 *
 * Binding and accepting are apart, because the main thread binds (and reports what went wrong
 * before anything else runs) and the workers accept. */
#ifndef RL_IO_LISTENER_H
#define RL_IO_LISTENER_H

#include "base/err.h"
#include "io/bind.h"
#include "io/loop.h"

typedef struct rl_listener rl_listener;

/* The fd is a connected, non-blocking socket, and yours. */
typedef void rl_accept_fn(void *arg, int fd, const rl_bound *from);

/* Takes b's fd, also when it fails. Accepts from the next turn on. When descriptors run out, the
 * connection at the head of the queue is refused, counted, and said once per interval; accepting
 * goes on by itself. */
int rl_listener_open(rl_listener **out, rl_loop *loop, const rl_bound *b, rl_accept_fn *fn,
                     void *arg, rl_err *err) RL_MUST_USE;
/* Whoever knocks waits, until it goes on. */
void rl_listener_pause(rl_listener *l, bool yes);
void rl_listener_close(rl_listener *l); /* at once; NULL is fine */

#endif
