/* workers.h - all the workers of a program as one: started, reloaded and stopped in step.
 *
 *   worker 0 loads --> the others load --> worker 0 makes tables --> every on_start --> READY
 *   READY --rl_workers_serve--> every worker accepts --> SERVING
 *   a change of the code: every worker stages --> all succeeded: all commit | one failed: all
 *   discard (ballot.h)
 *
 * No step begins before all workers have ended the one before. The first failure before SERVING
 * stops the others, and is told once. Everything here is for the main thread, and whatever it
 * tells comes from that thread's loop. */
#ifndef RL_HOST_WORKERS_H
#define RL_HOST_WORKERS_H

#include "host/ask.h"
#include "host/report.h"
#include "host/settings.h"
#include "host/wish.h"
#include "core/worker.h"

typedef struct rl_workers rl_workers;

/* Texts are borrowed for the call. */
typedef struct rl_workers_events {
    /* Worker 0 has loaded the script; return how many workers there are to be, 0 to give up. */
    unsigned (*on_loaded)(void *arg, const rl_loaded *loaded);
    void (*on_files)(void *arg, char *const *files, size_t n); /* all that was read, each once */
    /* One more, of what had this sum (io/watch.h); perhaps it is not there. */
    void (*on_used)(void *arg, const char *file, uint64_t sum);
    void (*on_ready)(void *arg);   /* every on_start has ended: listen */
    void (*on_serving)(void *arg); /* all accept */
    void (*on_changing)(void *arg, rl_change what);
    /* Worker 0 has staged; whether that will serve is not known yet. */
    void (*on_staged)(void *arg, const rl_loaded *loaded);
    void (*on_changed)(void *arg, rl_change what, const rl_loaded *serving);
    void (*on_change_failed)(void *arg, rl_change what, const char *text); /* nothing has changed */
    void (*on_printed)(void *arg, const char *text); /* what a command has to say */
    void (*on_failed)(void *arg, const char *text);  /* it cannot go on; stops by itself */
    void (*on_stopped)(void *arg, int status);       /* all are about to end */
} rl_workers_events;

/* Starts worker 0. */
int rl_workers_open(rl_workers **out, rl_loop *main, const rl_settings *settings,
                    const rl_workers_events *events, void *arg, rl_err *err) RL_MUST_USE;
void rl_workers_close(rl_workers *ws); /* joins the threads; after on_stopped */

unsigned rl_workers_count(const rl_workers *ws);
const rl_crew *rl_workers_crew(const rl_workers *ws);

/* In on_ready: bounds[i * n] to bounds[i * n + n - 1] are worker i's sockets, taken. */
void rl_workers_serve(rl_workers *ws, const rl_bound *bounds, unsigned n);

/* What serves, and how changes of it have gone. */
typedef struct rl_code {
    struct rl_code_of {
        unsigned number; /* 0: there is none */
        char hash[RL_HASH_SIZE];
    } serving, previous;          /* to which one can return */
    bool trial;                   /* both serve */
    uint64_t loads, loads_failed; /* after the start */
    uint64_t rolled_back;
    char *trouble; /* why the last load failed; NULL: it did not */
} rl_code;

const rl_code *rl_workers_code(const rl_workers *ws);

/* Loads that are asked for while one is under way are done after it, once. told: NULL if nobody
 * waits for the outcome; it comes from the loop, but at once when nothing changes any more. */
void rl_workers_change(rl_workers *ws, rl_change what, rl_change_told *told, void *arg);
/* Roll back this generation, if it is still the one that serves when its turn has come. */
void rl_workers_take_back(rl_workers *ws, unsigned generation, rl_change_told *told, void *arg);
void rl_workers_forget(rl_workers *ws, void *arg); /* nobody waits with this arg any more */
void rl_workers_drain(rl_workers *ws);             /* then stop */
void rl_workers_abort(rl_workers *ws);             /* stop at once */

/* One of those that there are by now: they take turns. */
rl_runner *rl_workers_runner(rl_workers *ws, unsigned turn);

/* ms that one of them has for a message from outside, as the code that serves wants it. */
uint64_t rl_workers_publish_patience(const rl_workers *ws);

/* Ask those that there are by now; the question is a constant. */
void rl_workers_ask(rl_workers *ws, const rl_question *question, void *arg);

#endif
