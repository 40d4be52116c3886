#include "core/background.h"

#include "base/log.h"
#include "core/failure.h"

enum { TELL_EVERY = 10000 }; /* ms: drops are told no oftener */

/* Making self. Until then c->self is the origin, and c is OPENING. */

static void on_opened(rl_task *t, void *arg, lua_State *co, bool failed)
{
    rl_consumer *c = arg;

    c->task = NULL;
    rl_consumer_ended(c, t, RL_OCCASION_OPEN);
    if (failed) {
        if (!rl_failure_is_quiet(c, co))
            rl_failure_log(c, co);
        if (c->nqueued)
            rl_failure_log_drops(c, c->nqueued);
        c->worker->dropped += c->nqueued;
        rl_consumer_drop_mailbox(c);
    } else if (c->state == RL_CONSUMER_OPENING) {
        c->state = RL_CONSUMER_OPEN;
    }
    rl_consumer_pump(c);
}

void rl_background_begin(rl_consumer *c)
{
    rl_task *t = rl_consumer_begin(c, on_opened);
    lua_State *co = rl_task_stack(t);

    c->event = "its opening";
    c->unmade = false;
    lua_rawgeti(co, LUA_REGISTRYINDEX, c->worker->entries[RL_ENTRY_BACKGROUND]);
    lua_pushnumber(co, c->id);
    lua_rawgeti(co, LUA_REGISTRYINDEX, c->self);
    rl_task_start(t, 2);
}

rl_consumer *rl_background_open(rl_worker *w, lua_State *L, int origin, bool patient)
{
    lua_pushvalue(L, origin);
    int ref = rl_vm_ref(L);
    rl_consumer *c = rl_consumer_new(w, RL_CONSUMER_BACKGROUND);

    c->self = ref;
    c->unmade = true;
    c->patient = patient;
    if (w->draining)
        rl_consumer_leave(c, w->farewell.code, rl_worker_farewell(w));
    rl_consumer_stir(c);
    return c;
}

void rl_background_feed(rl_consumer *c, rl_source *s)
{
    s->consumer = c;
    c->source = s;
}

/* Posting */

void rl_source_drop(rl_source *s)
{
    uint64_t now = rl_loop_now(&s->consumer->worker->loop);

    s->consumer->worker->dropped++;
    s->consumer->worker->loop.counters.mailbox_dropped_newest++;
    s->untold++;
    if (s->told_at && now < s->told_at + TELL_EVERY)
        return;
    rl_failure_log_drops(s->consumer, s->untold);
    s->untold = 0;
    s->told_at = now;
}

static void put(rl_consumer *c, rl_event *ev)
{
    c->unmade = c->state == RL_CONSUMER_OPENING && !c->task;
    rl_consumer_enqueue(c, ev);
    rl_consumer_stir(c);
}

void rl_source_put(rl_source *s, const char *type, const rl_field *fields, unsigned n,
                   rl_outcome *outcome)
{
    rl_event *ev = rl_event_of_fields(type, fields, n);

    ev->outcome = outcome;
    put(s->consumer, ev);
}

bool rl_source_post(rl_source *s, const char *type, const rl_field *fields, unsigned n)
{
    if (!rl_consumer_has_place(s->consumer)) {
        rl_source_drop(s);
        return false;
    }
    rl_source_put(s, type, fields, n, NULL);
    return true;
}

void rl_source_remind(rl_source *s, const char *type, const rl_field *fields, unsigned n)
{
    rl_list *last = rl_list_last(&s->consumer->mailbox);
    const rl_event *ev = last ? RL_LIST_ENTRY(last, rl_event, link) : NULL;

    if (!ev || ev->kind != RL_EVENT_FIELDS || strcmp(ev->type, type) != 0)
        rl_source_put(s, type, fields, n, NULL);
}

rl_ticked rl_background_tick(rl_consumer *c, const char *type, const rl_field *fields, unsigned n)
{
    if (c->state == RL_CONSUMER_LEAVING)
        return RL_TICK_OVER;
    if (c->task || c->nqueued) {
        c->worker->loop.counters.timer_runs_skipped++;
        return RL_TICK_SKIPPED;
    }
    put(c, rl_event_of_fields(type, fields, n));
    return RL_TICK_BEGINS;
}

void rl_background_work(rl_consumer *c, const char *type, const rl_field *fields, unsigned n,
                        rl_outcome *outcome)
{
    rl_event *ev = rl_event_of_fields(type, fields, n);

    ev->outcome = outcome;
    put(c, ev);
}
