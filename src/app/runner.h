/* runner.h - the worker's half of a program: the thread that loads, serves and stops.
 *
 * Every function below posts to the worker's loop and returns; the answers come as calls of
 * rl_runner_events on the main thread's loop. */
#ifndef RL_APP_RUNNER_H
#define RL_APP_RUNNER_H

#include "app/report.h"
#include "app/settings.h"
#include "io/listener.h"

typedef struct rl_runner rl_runner;

int rl_runner_start(rl_runner **out, rl_loop *main, const rl_settings *settings,
                    const rl_runner_events *events, void *arg, rl_err *err) RL_MUST_USE;
void rl_runner_free(rl_runner *r); /* joins the thread; after on_stopped */

void rl_runner_serve(rl_runner *r, const rl_bound *bounds, unsigned n); /* takes the sockets */
void rl_runner_reload(rl_runner *r);
void rl_runner_drain(rl_runner *r); /* then stop */
void rl_runner_abort(rl_runner *r); /* stop at once */

#endif
