/* runner.h - one worker's half of a program: the thread that loads, serves and stops.
 *
 * Every function below posts to the worker's loop and returns; what comes of it is told as a
 * report on the main thread's loop (rl_news says which). A worker that has ended hears nothing. */
#ifndef RL_HOST_RUNNER_H
#define RL_HOST_RUNNER_H

#include "host/report.h"
#include "host/settings.h"
#include "core/worker.h"

typedef struct rl_runner rl_runner;

int rl_runner_start(rl_runner **out, const rl_reporter *reporter, rl_crew *crew,
                    const rl_settings *settings, rl_err *err) RL_MUST_USE;
void rl_runner_free(rl_runner *r); /* joins the thread; after STOPPED */

void rl_runner_prepare(rl_runner *r); /* PREPARED: of one worker only */
void rl_runner_begin(rl_runner *r);   /* STARTED: the script's on_start has ended */
void rl_runner_serve(rl_runner *r, const rl_bound *bounds, unsigned n); /* SERVING; takes them */
/* STAGED, with this attempt: a change's first half. */
void rl_runner_stage(rl_runner *r, rl_change what, unsigned attempt);
void rl_runner_commit(rl_runner *r); /* COMMITTED: serve with what was staged */
void rl_runner_discard(rl_runner *r);
void rl_runner_trouble(rl_runner *r, const char *words); /* of the last load, which failed */
void rl_runner_drain(rl_runner *r);                      /* then stop */
void rl_runner_abort(rl_runner *r);                      /* stop at once */

/* Any call on the worker's thread, between two events. False: it has ended. */
bool rl_runner_post(rl_runner *r, rl_post *post);
/* Likewise: a function of rille.program as a task, to be queued. NULL: it does not serve. */
rl_task *rl_runner_task(rl_runner *r, const char *name, rl_task_ended_fn *ended, void *arg);
rl_worker *rl_runner_worker(rl_runner *r); /* in that call; NULL: it has ended */

#endif
