/* listener.h - addresses, and accepting connections from them.
 *
 * Binding and accepting are apart, because the main thread binds (and reports what went wrong
 * before anything else runs) and the workers accept. */
#ifndef RL_IO_LISTENER_H
#define RL_IO_LISTENER_H

#include "base/err.h"
#include "io/loop.h"

typedef struct rl_listener rl_listener;

/* A bound socket, and what is spoken on it: it goes with it through threads. */
typedef struct rl_bound {
    int fd;
    bool tls;            /* by its address */
    struct rl_tls *keys; /* with tls; to be set before connections are accepted */
} rl_bound;

/* Bind `address` ("127.0.0.1:8000", "[::1]:8000", ":8000", "unix:/path", "fd:3", any of them with
 * "tls:" in front), or a negative code with one sentence in *err. Port 0 picks one. A Unix socket
 * whose server is gone is replaced. Nobody can connect before rl_bound_listen(). */
int rl_bind_address(const char *address, rl_bound *out, rl_err *err) RL_MUST_USE;

/* Start to listen, which fails when another process got there first. Then other workers may have
 * siblings: sockets of their own among which the kernel spreads the connections or, where it does
 * not, the same one again. */
int rl_bound_listen(const rl_bound *b, rl_err *err) RL_MUST_USE;
int rl_bound_sibling(const rl_bound *b, rl_bound *out, rl_err *err) RL_MUST_USE;

/* How people reach it: "http://127.0.0.1:8000", "https://…", "unix:/path", "tls:unix:/path". Yours.
 */
char *rl_bound_url(const rl_bound *b);

/* The fd is a connected, non-blocking socket, and yours. */
typedef void rl_accept_fn(void *arg, int fd, const rl_bound *from);

/* Takes b's fd, also when it fails. Accepts from the next turn on. When descriptors run out, the
 * connection at the head of the queue is refused, counted, and said once per interval; accepting
 * goes on by itself. */
int rl_listener_open(rl_listener **out, rl_loop *loop, const rl_bound *b, rl_accept_fn *fn,
                     void *arg, rl_err *err) RL_MUST_USE;
void rl_listener_close(rl_listener *l); /* at once; NULL is fine */

#endif
