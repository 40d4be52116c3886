/* workers.c - what is to be done by all before the next may begin is a step; a step counts how
 * many have done it, and is over when none is missing.
 *
 *   LOADING --> PREPARING --> STARTING --> READY --> OPENING --> SERVING <--> STAGING/COMMITTING
 *      '------------'------------'----------'-----------'-----------'--> STOPPING */
#include "app/workers.h"

#include "app/runner.h"
#include "base/log.h"
#include "base/map.h"

#include <unistd.h>

enum step {
    LOADING,
    PREPARING,
    STARTING,
    READY, /* the main thread binds */
    OPENING,
    SERVING,
    STAGING,
    COMMITTING,
    STOPPING,
};

struct rl_workers {
    rl_loop *main;
    const rl_settings *settings;
    rl_workers_events events;
    void *arg;
    rl_crew crew;
    rl_runner *runners[RL_MAX_WORKERS];
    rl_asker asker;
    unsigned count;   /* runners that were started */
    unsigned stopped; /* of them */
    enum step step;
    unsigned missing; /* of this step */
    bool again;       /* a reload was asked for during another one */
    bool failed;      /* and it was told why */
    int status;

    rl_map files;     /* what all workers have read; the keys are what counts */
    unsigned nstaged; /* in a reload: workers that could load the new code */
    char *why;        /* one could not; the first one's words */
    unsigned who;
};

static void each(rl_workers *ws, void (*order)(rl_runner *r))
{
    for (unsigned i = 0; i < ws->count; i++)
        order(ws->runners[i]);
}

/* Has the last one done it? */
static bool is_done(rl_workers *ws, enum step step)
{
    return ws->step == step && --ws->missing == 0;
}

static void begin_step(rl_workers *ws, enum step step, unsigned missing)
{
    ws->step = step;
    ws->missing = missing;
}

static void stop_all(rl_workers *ws, void (*order)(rl_runner *r))
{
    ws->step = STOPPING;
    ws->again = false;
    each(ws, order);
}

/* Starting */

static void on_report(void *arg, const rl_report *rep);

static int start_runner(rl_workers *ws, rl_err *err)
{
    const rl_reporter to = {ws->main, on_report, ws, ws->count};
    int rc = rl_runner_start(&ws->runners[ws->count], &to, &ws->crew, ws->settings, err);

    if (rc == 0)
        ws->count++;
    return rc;
}

static void give_up(rl_workers *ws, const char *text)
{
    if (!ws->failed && text)
        ws->events.on_failed(ws->arg, text);
    ws->failed = true;
    ws->status = 1;
    stop_all(ws, rl_runner_abort);
}

/* Worker 0 is there: how many others? */
static void start_others(rl_workers *ws, const rl_loaded *loaded)
{
    unsigned count = ws->events.on_loaded(ws->arg, loaded);
    rl_err err;

    if (!count) {
        give_up(ws, NULL);
        return;
    }
    atomic_store(&ws->crew.count, count);
    begin_step(ws, LOADING, count);
    while (ws->count < count)
        if (start_runner(ws, &err) < 0) {
            give_up(ws, err.msg);
            return;
        }
}

static void collect_files(rl_workers *ws, const rl_loaded *loaded)
{
    for (size_t i = 0; i < loaded->nfiles; i++)
        rl_map_put(&ws->files, rl_str_of(loaded->files[i]), ws);
}

static void tell_files(rl_workers *ws)
{
    char **files = rl_calloc(ws->files.len, sizeof(*files));
    size_t at = 0, n = 0;
    rl_str name;
    void *value;

    while (rl_map_next(&ws->files, &at, &name, &value))
        files[n++] = rl_strndup(name.p, name.n);
    ws->events.on_files(ws->arg, files, n);
    while (n)
        rl_free(files[--n]);
    rl_free(files);
    rl_map_fini(&ws->files);
}

static void on_loaded(rl_workers *ws, unsigned worker, const rl_loaded *loaded)
{
    collect_files(ws, loaded);
    if (worker == 0)
        start_others(ws, loaded);
    if (!is_done(ws, LOADING))
        return;
    tell_files(ws);
    begin_step(ws, PREPARING, 1);
    rl_runner_prepare(ws->runners[0]);
}

static void on_prepared(rl_workers *ws)
{
    if (!is_done(ws, PREPARING))
        return;
    begin_step(ws, STARTING, ws->count);
    each(ws, rl_runner_begin);
}

void rl_workers_serve(rl_workers *ws, const rl_bound *bounds, unsigned n)
{
    if (ws->step != READY) {
        for (unsigned i = 0; i < ws->count * n; i++)
            close(bounds[i].fd);
        return;
    }
    begin_step(ws, OPENING, ws->count);
    for (unsigned i = 0; i < ws->count; i++)
        rl_runner_serve(ws->runners[i], bounds + i * n, n);
}

/* Reloading */

void rl_workers_reload(rl_workers *ws)
{
    if (ws->step != SERVING) {
        ws->again = ws->step != STOPPING;
        return;
    }
    ws->again = false;
    begin_step(ws, STAGING, ws->count);
    ws->nstaged = 0;
    rl_map_fini(&ws->files);
    ws->events.on_reloading(ws->arg);
    each(ws, rl_runner_stage);
}

static void serve_on(rl_workers *ws)
{
    ws->step = SERVING;
    rl_free(ws->why);
    ws->why = NULL;
    if (ws->again)
        rl_workers_reload(ws);
}

/* What only one of several could not do is likely about that one. */
static void tell_why(rl_workers *ws)
{
    char *text = ws->nstaged ? rl_sprintf("worker %u: %s", ws->who, ws->why) : rl_strdup(ws->why);

    ws->events.on_reload_failed(ws->arg, text);
    rl_free(text);
}

static void on_staged(rl_workers *ws, unsigned worker, const rl_report *rep)
{
    if (ws->step != STAGING)
        return;
    if (!rep->text) {
        ws->nstaged++;
        collect_files(ws, &rep->loaded);
        if (worker == 0)
            ws->events.on_staged(ws->arg, &rep->loaded);
    } else if (!ws->why) {
        ws->why = rl_strdup(rep->text);
        ws->who = worker;
    }
    if (!is_done(ws, STAGING))
        return;
    if (ws->why) {
        each(ws, rl_runner_discard);
        tell_why(ws);
        serve_on(ws);
        return;
    }
    begin_step(ws, COMMITTING, ws->count);
    each(ws, rl_runner_commit);
}

static void on_committed(rl_workers *ws, unsigned worker, const rl_report *rep)
{
    if (rep->text)
        rl_error("worker %u could not take over the new code, and needs a restart: %s", worker,
                 rep->text);
    if (!is_done(ws, COMMITTING))
        return;
    tell_files(ws);
    ws->events.on_reloaded(ws->arg, rep->loaded.generation);
    serve_on(ws);
}

/* Stopping */

void rl_workers_drain(rl_workers *ws)
{
    stop_all(ws, rl_runner_drain);
}

void rl_workers_abort(rl_workers *ws)
{
    stop_all(ws, rl_runner_abort);
}

/* The others go on to stop of themselves when one does: it was told to, or it failed, or its
 * command has ended. */
static void on_stopped(rl_workers *ws, int status)
{
    if (!ws->status)
        ws->status = status;
    if (++ws->stopped == ws->count)
        ws->events.on_stopped(ws->arg, ws->status);
}

static void on_report(void *arg, const rl_report *rep)
{
    rl_workers *ws = arg;
    unsigned worker = rep->from->worker;

    switch (rep->news) {
    case RL_NEWS_LOADED:
        if (ws->step == LOADING)
            on_loaded(ws, worker, &rep->loaded);
        break;
    case RL_NEWS_PREPARED:
        on_prepared(ws);
        break;
    case RL_NEWS_STARTED:
        if (is_done(ws, STARTING)) {
            ws->step = READY;
            ws->events.on_ready(ws->arg);
        }
        break;
    case RL_NEWS_SERVING:
        if (is_done(ws, OPENING)) {
            ws->events.on_serving(ws->arg);
            serve_on(ws);
        }
        break;
    case RL_NEWS_STAGED:
        on_staged(ws, worker, rep);
        break;
    case RL_NEWS_COMMITTED:
        on_committed(ws, worker, rep);
        break;
    case RL_NEWS_USED:
        ws->events.on_used(ws->arg, rep->text);
        break;
    case RL_NEWS_PRINTED:
        ws->events.on_printed(ws->arg, rep->text);
        break;
    case RL_NEWS_FAILED:
        give_up(ws, rep->text);
        break;
    case RL_NEWS_STOPPED:
        on_stopped(ws, rep->status);
        break;
    }
}

rl_runner *rl_workers_runner(rl_workers *ws, unsigned turn)
{
    return ws->runners[turn % ws->count];
}

void rl_workers_ask(rl_workers *ws, const rl_question *question, void *arg)
{
    rl_asker_ask(&ws->asker, ws->runners, ws->count, question, arg);
}

/* Opening and closing */

int rl_workers_open(rl_workers **out, rl_loop *main, const rl_settings *settings,
                    const rl_workers_events *events, void *arg, rl_err *err)
{
    rl_workers *ws = rl_calloc(1, sizeof(*ws));

    ws->main = main;
    ws->settings = settings;
    ws->events = *events;
    ws->arg = arg;
    rl_asker_init(&ws->asker, main);
    atomic_init(&ws->crew.count, settings->workers ? settings->workers : 1);
    ws->crew.exchange = rl_exchange_new(&(rl_exchange_limits){0});
    ws->crew.lines = rl_lines_new();
    ws->crew.history = rl_history_new();
    ws->crew.presence = rl_presence_new();
    int rc = start_runner(ws, err);
    if (rc < 0) {
        rl_exchange_free(ws->crew.exchange);
        rl_lines_free(ws->crew.lines);
        rl_history_free(ws->crew.history);
        rl_presence_free(ws->crew.presence);
        rl_free(ws);
        return rc;
    }
    *out = ws;
    return 0;
}

void rl_workers_close(rl_workers *ws)
{
    for (unsigned i = 0; i < ws->count; i++)
        rl_runner_free(ws->runners[i]);
    rl_asker_close(&ws->asker);
    rl_exchange_free(ws->crew.exchange);
    rl_lines_free(ws->crew.lines);
    rl_history_free(ws->crew.history);
    rl_presence_free(ws->crew.presence);
    rl_map_fini(&ws->files);
    rl_free(ws->why);
    rl_free(ws);
}

const rl_crew *rl_workers_crew(const rl_workers *ws)
{
    return &ws->crew;
}

unsigned rl_workers_count(const rl_workers *ws)
{
    return ws->count;
}
