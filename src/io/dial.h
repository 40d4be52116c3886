/* dial.h - from a name to a connected socket.
 *
 * A host name is looked up off the loop. Its addresses are tried a quarter of a second apart, IPv6
 * and IPv4 in turns, and the first that connects is taken (RFC 8305): an address that swallows
 * packets costs that quarter, not the caller's patience. There is no deadline here: whoever has
 * one cancels. */
#ifndef RL_IO_DIAL_H
#define RL_IO_DIAL_H

#include "base/err.h"
#include "io/loop.h"

typedef struct rl_dial rl_dial;

typedef struct rl_dial_opts {
    const char *path; /* a Unix socket ("@name": in the abstract namespace); NULL: host and port */
    const char *host; /* a name or an address, without brackets */
    uint16_t port;
} rl_dial_opts;

/* The socket, non-blocking and yours; or -1 and why, which does not say where. From the loop; the
 * dial is gone by then. */
typedef void rl_dialled_fn(void *arg, int fd, const rl_err *err);

/* The options are copied. */
rl_dial *rl_dial_start(rl_loop *loop, const rl_dial_opts *opts, rl_dialled_fn *fn, void *arg);
void rl_dial_cancel(rl_dial *d); /* fn will not be called */

#endif
