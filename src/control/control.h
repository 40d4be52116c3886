/* control.h - the control socket: what `rille status`, `reload`, `rollback`, `promote` and `attach`
 * ask of a process that serves (proto/control.h has what is spoken).
 *
 * A Unix socket, of mode 0600 unless another was asked for: who may open it may run code in the
 * process. It is made when the script has been loaded, and its file goes with a clean stop; one
 * that nobody answers behind is replaced. Served by the main thread, which runs no script: a busy
 * worker keeps nobody from asking how it goes. A client has one request at a time; what it may send
 * and leave unread is bounded. */
#ifndef RL_CONTROL_CONTROL_H
#define RL_CONTROL_CONTROL_H

#include "control/status.h"
#include "control/upgrade.h"
#include "host/workers.h"
#include "io/listener.h"

typedef struct rl_control {
    rl_loop *main;
    rl_workers *workers;
    rl_upgrade *upgrade; /* NULL: nobody can take over, */
    rl_estate estate;    /* else of this */
    rl_status facts;     /* but for the workers' */
    uint64_t started;    /* ms, loop's clock */
    rl_bindings bindings;
    char *link; /* to it, where those look who know no path; NULL: none */
    rl_listener *listener;
    rl_list clients;
    unsigned nclients;
    rl_list asked; /* for a status, and not told yet */
    bool open;
} rl_control;

/* Listens at path, which may have options behind it (io/endpoint.h: mode, user, group), or at the
 * socket that is in bindings already. facts: what a status says of the
 * process; its pointers are looked at for each.
 */
int rl_control_open(rl_control *c, rl_loop *main, rl_workers *workers, const rl_status *facts,
                    const char *path, rl_err *err) RL_MUST_USE;
/* A client that is connected already (fd is taken), also when there is no socket. Before that
 * rl_control_open(), with NULL as path. */
void rl_control_adopt(rl_control *c, int fd);
/* The link goes: whoever takes over has one of its own. */
void rl_control_unlink(rl_control *c);
/* Hangs up on everybody. Before the workers are closed. Fine if it was not opened. */
void rl_control_close(rl_control *c);

#endif
