#include "core/consumer.h"

#include "base/clock.h"
#include "core/background.h"
#include "core/failure.h"
#include "core/names.h"

#include <string.h>

/* Events */

/* What happens to a consumer while others run. */
void rl_consumer_stir(rl_consumer *c)
{
    if (!rl_list_alone(&c->stirred))
        return;
    rl_list_push(&c->worker->stirred, &c->stirred);
    rl_loop_kick(&c->worker->loop);
}

bool rl_consumer_run_stirred(rl_worker *w)
{
    rl_list stirred, *it;

    rl_list_init(&stirred);
    rl_list_take(&stirred, &w->stirred);
    bool any = !rl_list_empty(&stirred);
    while ((it = rl_list_pop(&stirred)))
        rl_consumer_pump(RL_LIST_ENTRY(it, rl_consumer, stirred));
    return any;
}

void rl_consumer_drop_mailbox(rl_consumer *c)
{
    rl_list *it;

    c->worker->loop.counters.mailbox_abandoned += c->nqueued;
    while ((it = rl_list_pop(&c->mailbox))) {
        rl_event *ev = RL_LIST_ENTRY(it, rl_event, link);
        c->worker->layer.dropped += ev->kind == RL_EVENT_LAYER;
        rl_event_free(ev);
    }
    c->nqueued = 0;
    c->queued_bytes = 0;
}

/* Waiting */

int rl_consumer_wait(rl_consumer *c, lua_State *L, rl_task *t)
{
    return rl_waiters_park(&c->waiters, L, t);
}

void rl_consumer_wake(rl_consumer *c)
{
    rl_waiters_wake(&c->waiters, NULL);
}

void rl_consumer_wake_closed(rl_consumer *c)
{
    rl_err err;

    if (rl_waiters_empty(&c->waiters))
        return;
    rl_err_set(&err, RL_ECLOSED, "the connection is closed");
    rl_waiters_wake(&c->waiters, &err);
}

/* Running events */

void rl_consumer_push_entry(rl_consumer *c, lua_State *co, enum rl_entry entry)
{
    lua_rawgeti(co, LUA_REGISTRYINDEX, c->worker->entries[entry]);
}

void rl_consumer_run(rl_consumer *c, unsigned generation)
{
    rl_generations *gs = &c->worker->generations;
    rl_generation *before = c->generation;

    c->epoch = gs->epoch;
    if (before->number == generation)
        return;
    c->generation = rl_generations_enter(gs, generation);
    rl_generations_leave(gs, before);
}

void rl_consumer_nudge(rl_consumer *c)
{
    if (c->state == RL_CONSUMER_LEAVING || c->failed || (c->http && !c->stream))
        return; /* it ends soon */
    rl_consumer_enqueue(c, rl_event_of_fields("reload", NULL, 0));
    rl_consumer_stir(c);
}

static bool must_adopt(const rl_consumer *c)
{
    return RL_UNLIKELY(c->epoch != c->worker->generations.epoch) && !c->pinned;
}

/* [function, self] for an event of a bound consumer. The first one after a change of the code goes
 * through dispatch.adopt, which gives self its new class. Returns the number of arguments so far.
 */
static int push_event(rl_consumer *c, lua_State *co, enum rl_entry entry)
{
    int nargs = 1;

    if (must_adopt(c)) {
        rl_consumer_push_entry(c, co, RL_ENTRY_ADOPT);
        c->epoch = c->worker->generations.epoch;
        nargs = 2;
    }
    rl_consumer_push_entry(c, co, entry);
    lua_rawgeti(co, LUA_REGISTRYINDEX, c->self);
    return nargs;
}

static void event_ended(rl_consumer *c, const rl_task *t, rl_occasion occasion, lua_State *co,
                        bool failed)
{
    c->task = NULL;
    rl_consumer_ended(c, t, occasion);
    if (failed && !(c->state == RL_CONSUMER_LEAVING && rl_failure_is(co, "Closed"))) {
        if (!rl_failure_is_quiet(c, co))
            rl_failure_log(c, co);
        if (c->kind != RL_CONSUMER_BACKGROUND) {
            c->failed = true;
            rl_consumer_drop_mailbox(c);
            rl_consumer_leave(c, 1011, RL_STR("error in a handler"));
        }
    }
    rl_consumer_pump(c);
}

static void on_receive_ended(rl_task *t, void *arg, lua_State *co, bool failed)
{
    event_ended(arg, t, RL_OCCASION_RECEIVE, co, failed);
}

static void on_message_ended(rl_task *t, void *arg, lua_State *co, bool failed)
{
    event_ended(arg, t, RL_OCCASION_MESSAGE, co, failed);
}

static void on_source_ended(rl_task *t, void *arg, lua_State *co, bool failed)
{
    event_ended(arg, t, RL_OCCASION_SOURCE, co, failed);
}

/* An event begins in t. */
static void note_beginning(rl_worker *w, rl_task *t)
{
    t->began = rl_loop_now(&w->loop);
    t->retirements = w->retired.count + 1;
    t->measured = ++w->routes.events % RL_ROUTE_SAMPLE ? 0 : rl_clock_ns();
}

rl_task *rl_consumer_begin(rl_consumer *c, rl_task_ended_fn *ended)
{
    rl_worker *w = c->worker;

    rl_worker_boundary(w);
    c->task = rl_task_new(&w->vm, ended, c);
    c->task->owner = c->id;
    note_beginning(w, c->task);
    return c->task;
}

/* Measured as core/route.h says. */
void rl_consumer_ended(rl_consumer *c, const rl_task *t, rl_occasion occasion)
{
    rl_route *r = c->worker->routes.at[c->route];
    uint64_t ms = rl_loop_now(&c->worker->loop) - t->began;

    r->events[occasion]++;
    c->generation->events++;
    if (RL_UNLIKELY(ms))
        rl_histogram_add(&r->took[occasion], ms * 1000);
    else if (RL_UNLIKELY(t->measured))
        rl_histogram_add_times(&r->took[occasion], (rl_clock_ns() - t->measured) / 1000,
                               RL_ROUTE_SAMPLE);
}

static void run_message(rl_consumer *c, bool text, rl_str data)
{
    rl_task *t = rl_consumer_begin(c, on_receive_ended);
    lua_State *co = rl_task_stack(t);
    int nargs = push_event(c, co, RL_ENTRY_RECEIVE);

    c->event = "receive";
    if (!text)
        lua_pushnil(co);
    lua_pushlstring(co, data.p, data.n);
    rl_task_start(t, nargs + (text ? 1 : 2));
}

bool rl_consumer_next(rl_worker *w, bool *text, rl_str *data)
{
    rl_task *t = w->vm.running;

    if (RL_UNLIKELY(!t || t->ended != on_receive_ended))
        return false;
    rl_consumer *c = t->arg;
    if (c->state != RL_CONSUMER_OPEN || c->nqueued || c->failed || must_adopt(c) ||
        rl_worker_is_due(w) || !rl_task_renew(t) || !rl_ws_conn_next(c->ws, text, data))
        return false;
    rl_consumer_ended(c, t, RL_OCCASION_RECEIVE);
    rl_worker_boundary(w);
    note_beginning(w, t);
    return true;
}

/* group, epoch, offset: where the message stands in its group's history. */
static int push_place(lua_State *co, const rl_place *place)
{
    char epoch[RL_EPOCH_SIZE];

    lua_pushlstring(co, place->group.p, place->group.n);
    lua_pushstring(co, rl_epoch_text(place->mark.epoch, epoch));
    lua_pushnumber(co, (lua_Number)place->mark.offset);
    return 3;
}

static void run_layer(rl_consumer *c, rl_message *m)
{
    rl_task *t = rl_consumer_begin(c, on_message_ended);
    lua_State *co = rl_task_stack(t);
    int nargs = push_event(c, co, RL_ENTRY_MESSAGE);

    c->event = "a message of the layer";
    lua_pushlstring(co, m->body.p, m->body.n);
    nargs += RL_UNLIKELY(m->place) ? push_place(co, m->place) : 0;
    rl_task_start(t, nargs + 1);
}

static void run_fields(rl_consumer *c, rl_event *ev)
{
    rl_task *t = rl_consumer_begin(c, on_source_ended);
    lua_State *co = rl_task_stack(t);
    int nargs = push_event(c, co, RL_ENTRY_EVENT);

    c->event = ev->type;
    rl_event_push_table(ev, co);
    rl_event_hand_over(ev, t);
    rl_task_start(t, nargs + 1);
}

static void on_disconnect_ended(rl_task *t, void *arg, lua_State *co, bool failed)
{
    rl_consumer *c = arg;

    c->task = NULL;
    rl_consumer_ended(c, t, RL_OCCASION_DISCONNECT);
    if (failed && !rl_failure_is_quiet(c, co))
        rl_failure_log(c, co);
    rl_worker_boundary(c->worker);
    rl_consumer_pump(c);
}

static void run_disconnect(rl_consumer *c)
{
    c->event = "disconnect";
    c->bound = false;
    rl_timeout_stop(&c->grace);
    rl_task *t = rl_consumer_begin(c, on_disconnect_ended);
    lua_State *co = rl_task_stack(t);
    int nargs = push_event(c, co, RL_ENTRY_DISCONNECT);

    lua_pushinteger(co, c->close_code);
    lua_pushstring(co, c->close_reason ? c->close_reason : "");
    rl_task_start(t, nargs + 2);
}

static void run_next(rl_consumer *c)
{
    rl_event *ev = RL_LIST_ENTRY(rl_list_first(&c->mailbox), rl_event, link);
    rl_route *r = c->worker->routes.at[c->route];

    if (rl_consumer_expire(c, ev))
        return;
    rl_list_remove(&ev->link);
    c->nqueued--;
    rl_histogram_add(&r->waited, (rl_loop_now(&c->worker->loop) - ev->queued) * 1000);
    switch (ev->kind) {
    case RL_EVENT_TEXT:
    case RL_EVENT_BYTES:
        c->queued_bytes -= (uint32_t)ev->n;
        run_message(c, ev->kind == RL_EVENT_TEXT, rl_event_data(ev));
        break;
    case RL_EVENT_LAYER:
        run_layer(c, ev->message);
        break;
    case RL_EVENT_FIELDS:
        run_fields(c, ev);
        break;
    }
    rl_event_free(ev);
}

/* Sources cannot be asked to wait, as a client is, and may come in bursts: they have more room. */
bool rl_consumer_has_place(const rl_consumer *c)
{
    uint64_t most = rl_consumer_limits(c)->mailbox;

    return c->nqueued < (c->kind == RL_CONSUMER_BACKGROUND ? most * 10 : most);
}

static bool has_room(const rl_consumer *c)
{
    return rl_consumer_has_place(c) && c->queued_bytes < c->worker->limits.mailbox_bytes;
}

/* Everything a consumer does next is decided here. A handler that ends at once comes back into
 * event_ended(), hence the flag: the loop goes on instead of nesting. */
void rl_consumer_pump(rl_consumer *c)
{
    if (c->pumping)
        return;
    c->pumping = true;
    while (!c->task) {
        if (c->state == RL_CONSUMER_OPENING && !c->gone) {
            if (!c->unmade)
                break;
            rl_background_begin(c);
            continue;
        }
        if (!rl_list_empty(&c->mailbox) && c->bound)
            run_next(c);
        else if (!c->gone)
            break;
        else if (c->bound)
            run_disconnect(c);
        else
            break;
    }
    c->pumping = false;

    if (c->task)
        return;
    if (c->gone && !c->bound)
        rl_consumer_end(c);
    else if (c->ws && c->reading_paused && has_room(c)) {
        c->reading_paused = false;
        rl_ws_conn_resume(c->ws);
    }
}

void rl_consumer_end(rl_consumer *c)
{
    rl_list *it;

    RL_CHECK(!c->task && !c->http && !c->ws && !c->source);
    rl_consumer_drop_mailbox(c);
    rl_channel_close(c->channel);
    while ((it = rl_list_pop(&c->tasks)))
        rl_task_cancel(RL_LIST_ENTRY(it, rl_task, owned));
    rl_consumer_wake_closed(c);
    rl_timeout_stop(&c->grace);
    rl_list_remove(&c->stirred);
    luaL_unref(c->worker->vm.L, LUA_REGISTRYINDEX, c->self);
    rl_roster_remove(&c->worker->roster, c->id);
    rl_free(c->close_reason);
    rl_names_drop(c);
    rl_generations_leave(&c->worker->generations, c->generation);
    rl_server_release(&c->worker->server, c->limits);
    rl_slab_give(&c->worker->memory, c);
}

void rl_consumer_note_close(rl_consumer *c, uint16_t code, rl_str reason)
{
    if (c->close_code)
        return;
    c->close_code = code;
    if (reason.n)
        c->close_reason = rl_strndup(reason.p, reason.n);
}

/* A handler under way gets a little time, then is cancelled; or, of the patient, all there is. */
void rl_consumer_lost(rl_consumer *c, uint16_t code, rl_str reason)
{
    if (c->source)
        c->source->close(c->source);
    c->source = NULL;
    rl_consumer_note_close(c, code, reason);
    c->gone = true;
    c->state = RL_CONSUMER_LEAVING;
    rl_consumer_wake_closed(c);
    if ((c->task || c->nqueued) && !c->patient)
        rl_timeout_start(&c->worker->graces, &c->grace);
    rl_consumer_stir(c);
}

void rl_consumer_on_grace(rl_timeout *t)
{
    rl_consumer *c = RL_CONTAINER_OF(t, rl_consumer, grace);

    rl_consumer_drop_mailbox(c);
    if (c->task)
        rl_task_cancel(c->task);
}

/* From the WebSocket */

void rl_consumer_enqueue(rl_consumer *c, rl_event *ev)
{
    ev->queued = rl_loop_now(&c->worker->loop);
    rl_list_push(&c->mailbox, &ev->link);
    c->nqueued++;
}

static void on_ws_message(void *owner, bool text, rl_str data)
{
    rl_consumer *c = owner;

    if (c->failed)
        return;
    if (!c->task && c->state == RL_CONSUMER_OPEN && rl_list_empty(&c->mailbox)) {
        run_message(c, text, data);
        return;
    }
    rl_consumer_enqueue(c, rl_event_of_client(text, data));
    c->queued_bytes += (uint32_t)data.n;
    if (!has_room(c)) {
        c->reading_paused = true;
        rl_ws_conn_pause(c->ws);
    }
}

static void on_ws_drain(void *owner)
{
    rl_consumer_wake(owner);
}

static void on_ws_limit(void *owner, uint16_t code, rl_str reason)
{
    rl_consumer_leave(owner, code, reason);
}

static void on_ws_closed(void *owner, uint16_t code, rl_str reason)
{
    rl_consumer *c = owner;

    c->ws = NULL;
    rl_consumer_lost(c, code, reason);
}

const rl_ws_conn_events rl_consumer_ws_events = {
    .on_message = on_ws_message,
    .on_drain = on_ws_drain,
    .on_closed = on_ws_closed,
    .on_limit = on_ws_limit,
};
