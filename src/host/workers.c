/* workers.c - what is to be done by all before the next may begin is a step; a step counts how
 * many have done it, and is over when none is missing.
 *
 *   LOADING --> PREPARING --> STARTING --> READY --> OPENING --> SERVING <--> STAGING/COMMITTING
 *      '------------'------------'----------'-----------'-----------'--> STOPPING */
#include "host/workers.h"

#include "host/ballot.h"
#include "host/runner.h"
#include "host/wish.h"
#include "base/log.h"

#include <stdio.h>
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
    bool failed;      /* and it was told why */
    int status;

    rl_ballot ballot;    /* on the change under way; at the start, of the files alone */
    rl_wishes wishes;    /* for changes */
    uv_timer_t deadline; /* of a ballot */
    uint64_t patience;   /* ms */
    uint64_t publish_patience;
    rl_code code;
};

static const char stopping[] = "the server is stopping";

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
    uv_timer_stop(&ws->deadline);
    each(ws, order);
    rl_wishes_refuse(&ws->wishes, stopping);
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

static void tell_files(rl_workers *ws)
{
    size_t n;
    char **files = rl_ballot_files(&ws->ballot, &n);

    ws->events.on_files(ws->arg, files, n);
    rl_ballot_free_files(files, n);
}

static void set_code(struct rl_code_of *of, unsigned number, const char *hash)
{
    of->number = number;
    snprintf(of->hash, sizeof(of->hash), "%s", hash);
}

static void on_loaded(rl_workers *ws, unsigned worker, const rl_loaded *loaded)
{
    if (!rl_ballot_collect(&ws->ballot, loaded)) /* somebody writes: once more, then */
        rl_workers_change(ws, RL_CHANGE_LOAD, NULL, NULL);
    if (worker == 0) {
        ws->patience = loaded->patience;
        ws->publish_patience = loaded->publish_patience;
        set_code(&ws->code.serving, loaded->generation, loaded->hash);
        start_others(ws, loaded);
    }
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

/* Changes of the code */

static void on_deadline(uv_timer_t *timer);

static void hold_ballot(rl_workers *ws)
{
    for (unsigned i = 0; i < ws->count; i++)
        rl_runner_stage(ws->runners[i], ws->ballot.what, ws->ballot.attempt);
}

static void next_change(rl_workers *ws)
{
    rl_change what;

    ws->step = STAGING; /* whoever is told that it is refused may wish for more */
    bool granted = rl_wishes_grant(&ws->wishes, ws->code.serving.number, &what);
    if (ws->step == STOPPING)
        return;
    if (!granted) {
        ws->step = SERVING;
        return;
    }
    rl_ballot_hold(&ws->ballot, what, ws->count);
    uv_timer_start(&ws->deadline, on_deadline, ws->patience, 0);
    ws->events.on_changing(ws->arg, what);
    hold_ballot(ws);
}

static void wish_for(rl_workers *ws, const rl_wish *how)
{
    rl_wishes_add(&ws->wishes, how);
    if (ws->step == SERVING)
        next_change(ws);
    else if (ws->step == STOPPING)
        rl_wishes_refuse(&ws->wishes, stopping);
}

void rl_workers_change(rl_workers *ws, rl_change what, rl_change_told *told, void *arg)
{
    wish_for(ws, &(rl_wish){.what = what, .told = told, .arg = arg});
}

void rl_workers_take_back(rl_workers *ws, unsigned generation, rl_change_told *told, void *arg)
{
    wish_for(ws,
             &(rl_wish){.what = RL_CHANGE_ROLLBACK, .only = generation, .told = told, .arg = arg});
}

void rl_workers_forget(rl_workers *ws, void *arg)
{
    rl_wishes_forget(&ws->wishes, arg);
}

static void fail_change(rl_workers *ws)
{
    rl_change what = ws->ballot.what;
    char *text = rl_ballot_reason(&ws->ballot);

    each(ws, rl_runner_discard);
    if (what == RL_CHANGE_LOAD) {
        ws->code.loads_failed++;
        rl_free(ws->code.trouble);
        ws->code.trouble = rl_strdup(text);
        for (unsigned i = 0; i < ws->count; i++)
            rl_runner_trouble(ws->runners[i], text);
    }
    ws->events.on_change_failed(ws->arg, what, text);
    rl_wishes_tell(&ws->wishes, false, text);
    rl_free(text);
    next_change(ws);
}

static void on_deadline(uv_timer_t *timer)
{
    rl_workers *ws = RL_CONTAINER_OF(timer, rl_workers, deadline);

    rl_ballot_end(&ws->ballot, ws->patience);
    fail_change(ws);
}

static void on_staged(rl_workers *ws, unsigned worker, const rl_report *rep)
{
    if (ws->step != STAGING)
        return;
    rl_verdict verdict = rl_ballot_vote(&ws->ballot, worker, rep);
    if (verdict == RL_VERDICT_OPEN)
        return;
    if (verdict == RL_VERDICT_AGAIN) {
        rl_ballot_hold_again(&ws->ballot);
        hold_ballot(ws);
        return;
    }
    uv_timer_stop(&ws->deadline);
    if (verdict == RL_VERDICT_NOT) {
        fail_change(ws);
        return;
    }
    begin_step(ws, COMMITTING, ws->count);
    each(ws, rl_runner_commit);
}

static void note_change(rl_workers *ws, rl_change what, const rl_loaded *serving)
{
    rl_code *code = &ws->code;

    if (serving->previous && serving->previous == code->serving.number)
        code->previous = code->serving;
    else if (!serving->previous)
        set_code(&code->previous, 0, "");
    set_code(&code->serving, serving->generation, serving->hash);
    code->trial = serving->trial;
    code->loads += what == RL_CHANGE_LOAD;
    code->rolled_back += what == RL_CHANGE_ROLLBACK;
    ws->patience = serving->patience;
    ws->publish_patience = serving->publish_patience;
    if (what == RL_CHANGE_LOAD) {
        rl_free(code->trouble);
        code->trouble = NULL;
    }
}

static void on_committed(rl_workers *ws, unsigned worker, const rl_report *rep)
{
    rl_change what = ws->ballot.what;

    if (rep->text)
        rl_error("worker %u could not take over the new code, and needs a restart: %s", worker,
                 rep->text);
    if (!is_done(ws, COMMITTING))
        return;
    note_change(ws, what, &rep->loaded);
    tell_files(ws);
    ws->events.on_changed(ws->arg, what, &rep->loaded);
    const rl_code *code = &ws->code;
    char *text = code->trial ? rl_sprintf("generation %u (%s) serves, on trial beside %u (%s): "
                                          "`rille promote` ends that well, `rille rollback` not",
                                          code->serving.number, code->serving.hash,
                                          code->previous.number, code->previous.hash)
                             : rl_sprintf("generation %u (%s) serves", code->serving.number,
                                          code->serving.hash);
    rl_wishes_tell(&ws->wishes, true, text);
    rl_free(text);
    next_change(ws);
}

const rl_code *rl_workers_code(const rl_workers *ws)
{
    return &ws->code;
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
            next_change(ws);
        }
        break;
    case RL_NEWS_STAGED:
        if (worker == 0 && !rep->text && rep->attempt == ws->ballot.attempt)
            ws->events.on_staged(ws->arg, &rep->loaded);
        on_staged(ws, worker, rep);
        break;
    case RL_NEWS_COMMITTED:
        on_committed(ws, worker, rep);
        break;
    case RL_NEWS_USED:
        ws->events.on_used(ws->arg, rep->text, rep->sum);
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

uint64_t rl_workers_publish_patience(const rl_workers *ws)
{
    return ws->publish_patience;
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
    rl_wishes_init(&ws->wishes);
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
    uv_timer_init(&main->uv, &ws->deadline);
    *out = ws;
    return 0;
}

static void free_workers(uv_handle_t *h)
{
    rl_free(RL_CONTAINER_OF((uv_timer_t *)h, rl_workers, deadline));
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
    rl_ballot_fini(&ws->ballot);
    rl_wishes_fini(&ws->wishes);
    rl_free(ws->code.trouble);
    uv_close((uv_handle_t *)&ws->deadline, free_workers);
}

const rl_crew *rl_workers_crew(const rl_workers *ws)
{
    return &ws->crew;
}

unsigned rl_workers_count(const rl_workers *ws)
{
    return ws->count;
}
