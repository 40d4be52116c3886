/* inherit.h - the other end of upgrade.h: a process that was started to take over from another one.
 *
 * It binds nothing: it has the other's sockets, as many workers, and when everything is loaded and
 * started, its WebSockets. Main thread. */
#ifndef RL_CONTROL_INHERIT_H
#define RL_CONTROL_INHERIT_H

#include "control/link.h"
#include "host/workers.h"
#include "io/bind.h"

typedef struct rl_inherit {
    int link; /* -1: nobody is to be taken over from */
    rl_loop *main;
    rl_workers *workers;
    uv_poll_t poll;
    bool polling;
    unsigned count;    /* workers */
    rl_bound *sockets; /* all of them, worker by worker */
    unsigned nsockets;
    rl_list arrived[RL_MAX_WORKERS]; /* rl_movings */
    void (*ready)(void *arg);
    void (*gone)(void *arg);
    void *arg;
    char *buffer;
} rl_inherit;

void rl_inherit_init(rl_inherit *in); /* looks into the environment, once */
static inline bool rl_inherit_is_on(const rl_inherit *in)
{
    return in->link >= 0;
}

/* Instead of binding: what the other process listens at. public has the first worker's sockets.
 * Waits for its answer. */
int rl_inherit_sockets(rl_inherit *in, rl_bindings *public, rl_bindings *admin,
                       rl_bindings *control, rl_err *err) RL_MUST_USE;
/* All workers are ready: everything may change over. ready comes when the connections are with
 * their workers, who may then serve; gone: the other process has ended instead. */
void rl_inherit_await(rl_inherit *in, rl_loop *main, rl_workers *workers, void (*ready)(void *arg),
                      void (*gone)(void *arg), void *arg);
void rl_inherit_tell_failed(rl_inherit *in, const char *why);
void rl_inherit_tell_serving(rl_inherit *in); /* and that was it */
void rl_inherit_close(rl_inherit *in);        /* the memory must outlast the loop */

#endif
