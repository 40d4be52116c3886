/* listener.h - addresses, and accepting connections from them.
 *
 * Binding and accepting are apart, because the main thread binds (and reports what went wrong
 * before anything else runs) and the workers accept. */
#ifndef RL_IO_LISTENER_H
#define RL_IO_LISTENER_H

#include "base/err.h"
#include "io/loop.h"

typedef struct rl_listener rl_listener;

/* Bind `address` ("127.0.0.1:8000", "[::1]:8000", ":8000", "unix:/path", "fd:3") and return
 * the socket, or a negative code with one sentence in *err. Port 0 picks one. A Unix socket
 * whose server is gone is replaced. Nobody can connect before rl_listener_open(). */
int rl_bind_address(const char *address, rl_err *err) RL_MUST_USE;

/* How people reach it: "http://127.0.0.1:8000", "unix:/path". Yours. */
char *rl_bound_url(int fd);

/* The fd is a connected, non-blocking socket, and yours. */
typedef void rl_accept_fn(void *arg, int fd);

/* Takes fd, also when it fails. Accepts from the next turn on. When descriptors run out, the
 * connection at the head of the queue is refused, counted, and said once per interval; accepting
 * goes on by itself. */
int rl_listener_open(rl_listener **out, rl_loop *loop, int fd, rl_accept_fn *fn, void *arg,
                     rl_err *err) RL_MUST_USE;
void rl_listener_close(rl_listener *l); /* at once; NULL is fine */

#endif
