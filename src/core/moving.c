#include "core/moving.h"

#include "base/log.h"
#include "base/pack.h"
#include "core/consumer.h"
#include "core/failure.h"

#include <unistd.h>

/* May it move at all, if it comes to rest? */
static bool is_mobile(const rl_consumer *c)
{
    return c->kind == RL_CONSUMER_WEBSOCKET && c->ws && c->bound && !c->gone && !c->failed &&
           c->state == RL_CONSUMER_OPEN && !rl_conn_is_tls(rl_ws_conn_stream(c->ws)) &&
           !rl_ws_conn_stream(c->ws)->introduced;
}

static bool is_at_rest(const rl_consumer *c)
{
    return !c->task && c->nqueued == 0 && rl_list_empty(&c->tasks);
}

void rl_worker_settle(rl_worker *w, rl_settled *out)
{
    uint32_t at = 0;
    rl_consumer *c;

    for (unsigned i = 0; i < w->nlisteners; i++)
        rl_listener_pause(w->listeners[i], true);
    *out = (rl_settled){.messages = w->layer.delivered};
    while ((c = rl_roster_next(&w->roster, &at))) {
        if (!is_mobile(c)) /* requests can take as long as they like: they end here */
            continue;
        bool whole = rl_ws_conn_is_whole(c->ws);
        if (whole) /* one in the middle of a message is read to its end */
            rl_ws_conn_pause(c->ws);
        out->unsettled += !whole || !is_at_rest(c);
    }
}

void rl_worker_thaw(rl_worker *w)
{
    uint32_t at = 0;
    rl_consumer *c;

    for (unsigned i = 0; i < w->nlisteners; i++)
        rl_listener_pause(w->listeners[i], false);
    while ((c = rl_roster_next(&w->roster, &at)))
        if (c->ws && !c->reading_paused)
            rl_ws_conn_resume(c->ws);
}

/* Out */

static void pack_address(rl_buf *out, const rl_address *a)
{
    rl_pack_u32(out, (uint32_t)a->family << 16 | a->port);
    rl_pack_bytes(out, (rl_str){(const char *)a->bytes, sizeof(a->bytes)});
}

/* What Lua has of it, as text; false: it cannot be said, which was told. */
static bool pack_self(rl_consumer *c, rl_buf *out)
{
    rl_vm *vm = &c->worker->vm;
    lua_State *L = vm->L;
    rl_buf groups = {0}, trace = {0};
    rl_err err;
    int n = 0;

    rl_channel_groups(c->channel, &groups);
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->worker->entries[RL_ENTRY_LEAVE]);
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->self);
    lua_newtable(L);
    for (const char *name = groups.data; name < groups.data + groups.len;
         name += strlen(name) + 1) {
        lua_pushstring(L, name);
        lua_rawseti(L, -2, ++n);
    }
    rl_buf_fini(&groups);
    bool done = rl_vm_call(vm, 2, 1, &trace, &err) == 0;
    if (done) {
        size_t length;
        const char *text = lua_tolstring(L, -1, &length);
        rl_pack_bytes(out, (rl_str){text, length});
        lua_pop(L, 1);
    } else {
        rl_error("a connection cannot move: %s", rl_buf_cstr(&trace));
    }
    rl_buf_fini(&trace);
    return done;
}

static bool pack(rl_consumer *c, rl_moving *m)
{
    pack_address(&m->bytes, &c->peer);
    rl_pack_u32(&m->bytes, c->secure);
    if (!pack_self(c, &m->bytes))
        return false;
    m->fd = rl_ws_conn_leave(c->ws, &m->bytes);
    c->ws = NULL;
    c->gone = true;
    c->bound = false; /* its disconnect will run elsewhere */
    return true;
}

void rl_worker_pack(rl_worker *w, rl_list *out)
{
    uint32_t at = 0;
    rl_consumer *c;

    while ((c = rl_roster_next(&w->roster, &at))) {
        if (!is_mobile(c) || !is_at_rest(c) || !rl_ws_conn_is_whole(c->ws))
            continue;
        rl_moving *m = rl_calloc(1, sizeof(*m));
        m->fd = -1;
        rl_list_init(&m->link);
        if (pack(c, m)) {
            rl_list_push(out, &m->link);
            rl_consumer_end(c);
        } else {
            rl_moving_free(m);
        }
    }
}

void rl_moving_free(rl_moving *m)
{
    if (m->fd >= 0)
        close(m->fd);
    rl_buf_fini(&m->bytes);
    rl_free(m);
}

/* In */

static bool unpack_address(rl_str *in, rl_address *a)
{
    uint32_t head;
    rl_str bytes;

    if (!rl_unpack_u32(in, &head) || !rl_unpack_bytes(in, &bytes) || bytes.n != sizeof(a->bytes))
        return false;
    a->family = (uint8_t)(head >> 16);
    a->port = (uint16_t)head;
    memcpy(a->bytes, bytes.p, bytes.n);
    return true;
}

static void on_arrived(rl_task *t, void *arg, lua_State *co, bool failed)
{
    rl_consumer *c = arg;

    c->task = NULL;
    rl_consumer_ended(c, t, RL_OCCASION_OPEN);
    if (failed && !rl_failure_is_quiet(c, co)) {
        rl_failure_log(c, co);
        c->failed = true;
        rl_consumer_drop_mailbox(c);
    }
    if (c->state == RL_CONSUMER_OPENING)
        c->state = RL_CONSUMER_OPEN;
    if (c->ws && (failed || !c->bound))
        rl_consumer_leave(c, failed ? 1011 : 1012, RL_STR("it could not be taken over"));
    rl_consumer_pump(c);
}

void rl_worker_unpack(rl_worker *w, int fd, rl_str in)
{
    rl_consumer *c = rl_consumer_new(w, RL_CONSUMER_WEBSOCKET);
    uint32_t secure;
    rl_str text = {0};

    rl_server_exchange(&w->server, &c->limits, w->places[0]);
    if (unpack_address(&in, &c->peer) && rl_unpack_u32(&in, &secure) &&
        rl_unpack_bytes(&in, &text)) {
        c->secure = secure;
        c->ws = rl_ws_conn_arrive(&w->server, fd, &in, c->limits, &rl_consumer_ws_events, c);
    } else {
        close(fd);
    }
    if (!c->ws) {
        rl_error("a connection could not be taken over");
        c->gone = true;
        rl_consumer_end(c);
        return;
    }
    c->accepted = true;
    c->reading_paused = true; /* until it knows itself */
    c->event = "arrive";
    rl_task *t = rl_consumer_begin(c, on_arrived);
    rl_consumer_push_entry(c, rl_task_stack(t), RL_ENTRY_ARRIVE);
    lua_pushnumber(rl_task_stack(t), c->id);
    lua_pushlstring(rl_task_stack(t), text.p, text.n);
    rl_task_queue(t, 2);
}
