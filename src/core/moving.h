/* moving.h - WebSockets on their way to another process, which takes over from this one.
 *
 * What moves: the socket and what was read of it, what was agreed about compression with the
 * client's window, the scope, the groups, and of self what is plain (numbers, strings, booleans,
 * tables of them). What does not: TLS, a connection behind a PROXY header, one whose handler,
 * spawned task or half a message is still there, requests. The client notices nothing; `connect`
 * and `disconnect` do not run. In the other process the consumer has another channel_name, its
 * class is found by module and name as after a reload, and `on_reload`, if there is one, runs first
 * of all.
 *
 *   settle, until nothing is unsettled or patience ends --> pack --> ... --> unpack
 *      '--> thaw: nobody takes over
 *
 * While it is settled, a worker reads of no such connection and accepts nobody: what comes waits in
 * the kernel. Handlers that are under way end; what they send is delivered. */
#ifndef RL_CORE_MOVING_H
#define RL_CORE_MOVING_H

#include "core/worker.h"

typedef struct rl_moving {
    rl_list link;
    int fd;
    rl_buf bytes;
} rl_moving;

typedef struct rl_settled {
    unsigned unsettled; /* who could move, but is in the middle of something */
    uint64_t messages;  /* of the layer, delivered so far: still now? */
} rl_settled;

void rl_worker_settle(rl_worker *w, rl_settled *out); /* look again and again */
void rl_worker_thaw(rl_worker *w);

/* Everybody who can; out gets rl_movings. */
void rl_worker_pack(rl_worker *w, rl_list *out);
void rl_moving_free(rl_moving *m); /* and closes fd, unless it is negative */

/* Takes fd. */
void rl_worker_unpack(rl_worker *w, int fd, rl_str bytes);

#endif
