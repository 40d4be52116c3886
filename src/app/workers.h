/* workers.h - all the workers of a program as one: started, reloaded and stopped in step.
 *
 *   worker 0 loads --> the others load --> worker 0 makes tables --> every on_start --> READY
 *   READY --rl_workers_serve--> every worker accepts --> SERVING
 *   a reload: every worker stages --> all succeeded: all commit | one failed: all discard
 *
 * No step begins before all workers have ended the one before. The first failure before SERVING
 * stops the others, and is told once. Everything here is for the main thread, and whatever it
 * tells comes from that thread's loop. */
#ifndef RL_APP_WORKERS_H
#define RL_APP_WORKERS_H

#include "app/ask.h"
#include "app/report.h"
#include "app/settings.h"
#include "core/worker.h"

typedef struct rl_workers rl_workers;

/* Texts are borrowed for the call. */
typedef struct rl_workers_events {
    /* Worker 0 has loaded the script; return how many workers there are to be, 0 to give up. */
    unsigned (*on_loaded)(void *arg, const rl_loaded *loaded);
    void (*on_files)(void *arg, char *const *files, size_t n); /* all that was read, each once */
    void (*on_used)(void *arg, const char *file); /* one more; perhaps it is not there */
    void (*on_ready)(void *arg);                  /* every on_start has ended: listen */
    void (*on_serving)(void *arg);                /* all accept */
    void (*on_reloading)(void *arg);
    /* Worker 0 has staged the script again; whether it will serve is not known yet. */
    void (*on_staged)(void *arg, const rl_loaded *loaded);
    void (*on_reloaded)(void *arg, unsigned generation);
    void (*on_reload_failed)(void *arg, const char *text); /* the old code serves on */
    void (*on_printed)(void *arg, const char *text);       /* what a command has to say */
    void (*on_failed)(void *arg, const char *text);        /* it cannot go on; stops by itself */
    void (*on_stopped)(void *arg, int status);             /* all are about to end */
} rl_workers_events;

/* Starts worker 0. */
int rl_workers_open(rl_workers **out, rl_loop *main, const rl_settings *settings,
                    const rl_workers_events *events, void *arg, rl_err *err) RL_MUST_USE;
void rl_workers_close(rl_workers *ws); /* joins the threads; after on_stopped */

unsigned rl_workers_count(const rl_workers *ws);
const rl_crew *rl_workers_crew(const rl_workers *ws);

/* In on_ready: bounds[i * n] to bounds[i * n + n - 1] are worker i's sockets, taken. */
void rl_workers_serve(rl_workers *ws, const rl_bound *bounds, unsigned n);

/* One that comes while another is under way is done after it, once. */
void rl_workers_reload(rl_workers *ws);
void rl_workers_drain(rl_workers *ws); /* then stop */
void rl_workers_abort(rl_workers *ws); /* stop at once */

/* One of those that there are by now: they take turns. */
rl_runner *rl_workers_runner(rl_workers *ws, unsigned turn);

/* Ask those that there are by now; the question is a constant. */
void rl_workers_ask(rl_workers *ws, const rl_question *question, void *arg);

#endif
