/* admin.h - how it goes, told to whoever may know, at an address of its own (--admin).
 *
 *   /metrics   all figures, for Prometheus (admin/metrics.h). Of a worker that does not answer
 * within a second there is only rille_worker_up 0 /healthz   200 while this loop turns and every
 * worker's does; 503 names those that have not answered within a second /readyz    200 while
 * connections are accepted; 503 before and, from the first SIGTERM, after
 *
 *   /publish   POST: a message for the layer, with a token (admin/publish.h)
 *
 * The others for GET and HEAD. It is served by the main thread, which runs no script, with parts of
 * the server itself: HTTP/1.1, connections kept for a while and bounded, deadlines on heads and on
 * peers that do not read. Nothing is logged. But for /publish there is no password, and nothing of
 * a request's content or a user's name in any answer; but routes and figures are, so give it an
 * address that only the curious of the house reach. */
#ifndef RL_ADMIN_ADMIN_H
#define RL_ADMIN_ADMIN_H

#include "admin/metrics.h"
#include "admin/publish.h"
#include "host/workers.h"
#include "io/listener.h"
#include "net/server.h"

typedef struct rl_admin {
    rl_conns conns;
    rl_server server;
    rl_listener *listeners[RL_MAX_SOCKETS];
    unsigned nlisteners;
    rl_workers *workers;
    const rl_process_figures *process;
    rl_publisher publisher;
    uint16_t places[2]; /* of its limits, among the server's */
    rl_list pending;    /* requests whose answer is with the workers */
    bool open;
} rl_admin;

/* Listens on these sockets, which are taken, also on failure. The memory must outlast the loop;
 * process is looked at for each answer. */
int rl_admin_open(rl_admin *a, rl_loop *main, const rl_bindings *sockets, rl_workers *workers,
                  const rl_process_figures *process, rl_err *err) RL_MUST_USE;
/* Cuts off who is there; runs the loop for it. Before the workers are closed. Fine if it was not
 * opened. */
void rl_admin_close(rl_admin *a);

#endif
