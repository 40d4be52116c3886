/* runner.h - the worker's half of a program: the thread that loads, serves and stops.
 *
 * Every function below posts to the worker's loop and returns; the answers come as calls of
 * rl_runner_events on the main thread's loop. */
#ifndef RL_APP_RUNNER_H
#define RL_APP_RUNNER_H

#include "app/settings.h"
#include "io/loop.h"
#include "net/server.h"

typedef struct rl_runner rl_runner;

/* What loading a script brings to light. */
typedef struct rl_loaded {
    char **files; /* everything that was read */
    size_t nfiles;
    char **listen; /* the script's own addresses */
    size_t nlisten;
    unsigned generation; /* 0: staged, not serving yet */
} rl_loaded;

/* On the main thread. Texts are borrowed for the call. */
typedef struct rl_runner_events {
    void (*on_loaded)(void *arg, const rl_loaded *loaded); /* the first load: now listen */
    void (*on_serving)(void *arg);                         /* connections are accepted */
    void (*on_reloaded)(void *arg, const rl_loaded *loaded);
    void (*on_reload_failed)(void *arg, const char *text); /* the old code serves on */
    void (*on_printed)(void *arg, const char *text);       /* what a command has to say */
    void (*on_failed)(void *arg, const char *text);        /* it cannot go on; stops by itself */
    void (*on_stopped)(void *arg, int status);             /* the thread is about to end */
} rl_runner_events;

int rl_runner_start(rl_runner **out, rl_loop *main, const rl_settings *settings,
                    const rl_runner_events *events, void *arg, rl_err *err) RL_MUST_USE;
void rl_runner_free(rl_runner *r); /* joins the thread; after on_stopped */

void rl_runner_serve(rl_runner *r, const int *fds, unsigned n); /* takes the sockets */
void rl_runner_reload(rl_runner *r);
void rl_runner_drain(rl_runner *r); /* then stop */
void rl_runner_abort(rl_runner *r); /* stop at once */

#endif
