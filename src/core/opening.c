/* opening.c - a consumer's beginning: a request comes, its first event runs, and the request is
 * answered, by the handler or, when that fails or takes too long, by us. */
#include "core/background.h"
#include "core/consumer.h"
#include "core/failure.h"
#include "core/names.h"
#include "core/witness.h"
#include "proto/url.h"

#include <string.h>

/* From HTTP */

static void on_http_body(void *owner)
{
    rl_consumer_wake(owner);
}

static void on_http_gone(void *owner)
{
    rl_consumer *c = owner;

    c->http = NULL;
    rl_consumer_lost(c, 1006, RL_STR("the peer went away"));
}

static void on_http_head(void *owner, rl_str headers, rl_buf *out)
{
    rl_names_add_header(owner, headers, out);
}

static const rl_http_conn_events http_events = {
    .on_head = on_http_head,
    .on_body = on_http_body,
    .on_drain = on_http_body,
    .on_gone = on_http_gone,
};

static void refuse_with(rl_consumer *c, int status, rl_str headers, rl_str why)
{
    rl_http_conn_start(c->http, status, headers, (int64_t)why.n + 1);
    rl_http_conn_write(c->http, why);
    rl_http_conn_write(c->http, RL_STR("\n"));
    rl_consumer_answered(c, 1006, RL_STR("refused"));
}

static void refuse(rl_consumer *c, int status, rl_str why)
{
    refuse_with(c, status, RL_STR("content-type: text/plain; charset=utf-8\r\n"), why);
}

/* Under `rille dev`: everything the log has, for a browser as a page. */
static void show_failure(rl_consumer *c, lua_State *co)
{
    rl_buf text = {0}, page = {0};

    rl_failure_tell(c, co, &text);
    if (rl_failure_page(c, rl_buf_str(&text), &page))
        refuse_with(c, 500,
                    RL_STR("content-type: text/html; charset=utf-8\r\ncache-control: no-store\r\n"),
                    rl_buf_str(&page));
    else
        refuse(c, 500, rl_buf_str(&text));
    rl_buf_fini(&page);
    rl_buf_fini(&text);
}

static void refuse_failure(rl_consumer *c, lua_State *co)
{
    if (co && c->worker->show_errors)
        show_failure(c, co);
    else
        refuse(c, 500, RL_STR("Internal Server Error"));
}

/* Deadlines of an answer */

/* Nothing was said to the peer in time. */
void rl_consumer_on_late(rl_timeout *t)
{
    rl_consumer *c = RL_CONTAINER_OF(t, rl_consumer, grace);
    bool shake = c->kind == RL_CONSUMER_WEBSOCKET;

    if (!c->http || rl_http_conn_started(c->http))
        return;
    ++*(shake ? &c->worker->loop.counters.handshake_timeouts
              : &c->worker->loop.counters.answer_timeouts);
    rl_failure_log_late(c, shake ? "handshake_timeout" : "answer_timeout");
    refuse(c, 503, RL_STR("no answer in time"));
    if (c->task)
        rl_timeout_start(&c->worker->graces, &c->grace);
    rl_consumer_stir(c);
}

static void expect_answer(rl_consumer *c)
{
    const rl_limits *l = rl_consumer_limits(c);
    uint64_t after = c->kind == RL_CONSUMER_WEBSOCKET ? l->handshake_timeout : l->answer_timeout;

    rl_timeout_stop(&c->grace);
    if (after)
        rl_timeout_start(rl_server_deadlines(&c->worker->server, after, rl_consumer_on_late),
                         &c->grace);
}

bool rl_consumer_limit(rl_consumer *c, unsigned place)
{
    rl_worker *w = c->worker;

    rl_server_exchange(&w->server, &c->limits, (uint16_t)place);
    if (c->ws)
        rl_ws_conn_limit(c->ws, c->limits);
    if (!c->http || rl_http_conn_started(c->http))
        return true;
    if (c->kind == RL_CONSUMER_HTTP && !rl_http_conn_limit(c->http, c->limits)) {
        w->loop.counters.too_long_bodies++;
        refuse(c, 413, RL_STR("the body is too long"));
        return false;
    }
    expect_answer(c);
    return true;
}

/* The first event */

static void on_open_ended(rl_task *t, void *arg, lua_State *co, bool failed)
{
    rl_consumer *c = arg;

    c->task = NULL;
    rl_consumer_ended(c, t, RL_OCCASION_OPEN);
    if (failed && c->http && rl_failure_is(co, "BadRequest") && !rl_http_conn_started(c->http)) {
        refuse(c, 400, rl_failure_message(co));
    } else if (failed && !rl_failure_is_quiet(c, co)) {
        rl_failure_log(c, co);
        c->failed = true;
        rl_consumer_drop_mailbox(c);
    }
    if (c->http && failed && rl_http_conn_started(c->http)) {
        rl_http_conn *hc = c->http; /* half an answer cannot be mended */
        c->http = NULL;
        rl_http_conn_break(hc);
        rl_consumer_lost(c, 1011, RL_STR("error in a handler"));
    } else if (c->stream && c->http) {
        if (c->worker->draining)
            rl_consumer_leave(c, 1001, RL_STR("the server is going away"));
    } else if (c->http && rl_http_conn_started(c->http)) {
        rl_consumer_answered(c, 1000, RL_STR(""));
    } else if (c->http) {
        if (!failed)
            rl_failure_log_silence(c);
        refuse_failure(c, failed ? co : NULL);
    } else if (c->ws && failed) {
        rl_consumer_leave(c, 1011, RL_STR("error in a handler"));
    }
    if (c->state == RL_CONSUMER_OPENING)
        c->state = RL_CONSUMER_OPEN;
    if (c->gone && !c->bound)
        rl_worker_boundary(c->worker);
    rl_consumer_pump(c);
}

static void add_field(rl_buf *all, const char *name, const char *value)
{
    if (!*value)
        return;
    rl_buf_add(all, name, strlen(name) + 1);
    rl_buf_add(all, value, strlen(value) + 1);
}

void rl_consumer_push_fields(lua_State *L, const rl_http_head *head, const rl_forwarded *via)
{
    rl_buf all = {0};

    rl_buf_reserve(&all, head->bytes.len + 2 * rl_http_field_count(head) + 16);
    if (rl_http_target(head).n) {
        rl_buf_add_str(&all, RL_STR(":target"));
        rl_buf_add_c(&all, '\0');
        rl_buf_add_str(&all, rl_http_target(head));
        rl_buf_add_c(&all, '\0');
    }
    if (via) {
        add_field(&all, ":host", via->host);
        add_field(&all, ":prefix", via->prefix);
    }
    for (size_t i = 0; i < rl_http_field_count(head); i++) {
        rl_http_field f = rl_http_field_at(head, i);
        rl_buf_add_str(&all, f.name);
        rl_buf_add_c(&all, '\0');
        rl_buf_add_str(&all, f.value);
        rl_buf_add_c(&all, '\0');
    }
    lua_pushlstring(L, rl_buf_str(&all).p, all.len);
    rl_buf_fini(&all);
}

/* nil when it cannot be decoded. */
static void push_path(lua_State *L, rl_str target)
{
    rl_buf path = {0};
    rl_url url;

    if (rl_url_split(&url, target, NULL) == 0 && rl_url_decode_path(&path, url.path, NULL) == 0)
        lua_pushlstring(L, rl_buf_str(&path).p, path.len);
    else
        lua_pushnil(L);
    rl_buf_fini(&path);
}

rl_consumer *rl_consumer_new(rl_worker *w, enum rl_consumer_kind kind)
{
    rl_consumer *c = rl_slab_zeroed(&w->memory);

    c->worker = w;
    c->born = (uint32_t)(rl_loop_now(&w->loop) / 1000);
    c->kind = (uint8_t)kind;
    c->self = LUA_NOREF;
    rl_server_hold(&w->server, c->limits);
    c->generation = rl_generation_join(w->generations.serving);
    c->epoch = w->generations.epoch;
    c->state = RL_CONSUMER_OPENING;
    rl_list_init(&c->mailbox);
    rl_list_init(&c->tasks);
    rl_waiters_init(&c->waiters);
    rl_list_init(&c->stirred);
    rl_timeout_init(&c->grace);
    c->id = rl_roster_add(&w->roster, c);
    return c;
}

void rl_consumer_open(rl_worker *w, rl_http_conn *hc)
{
    rl_consumer *c = rl_consumer_new(w, RL_CONSUMER_HTTP);
    rl_forwarded via;

    c->http = hc;
    c->secure = rl_conn_is_tls(rl_http_conn_stream(hc));
    bool forwarded = rl_http_conn_forwarded(hc, &via);
    c->peer = forwarded && via.has_client ? via.client : rl_conn_peer(rl_http_conn_stream(hc));
    if (forwarded && via.scheme != RL_SCHEME_NONE)
        c->secure = via.scheme == RL_SCHEME_HTTPS;
    rl_http_conn_own(hc, &http_events, c);
    rl_names_take(c, rl_http_conn_head(hc));
    if (RL_UNLIKELY(!rl_list_empty(&w->witnesses)))
        rl_witness_meet(c);

    int upgrade = rl_http_conn_wants_websocket(hc);
    if (upgrade > 101) {
        rl_str extra = upgrade == 426 ? RL_STR("sec-websocket-version: 13\r\n") : RL_STR("");
        rl_http_conn_respond(hc, upgrade, extra, RL_STR("bad WebSocket handshake\n"));
        c->http = NULL;
        c->gone = true;
        rl_consumer_end(c);
        return;
    }
    if (upgrade == 101)
        c->kind = RL_CONSUMER_WEBSOCKET;

    const rl_http_head *head = rl_http_conn_head(hc);
    c->event = c->kind == RL_CONSUMER_HTTP ? "handle" : "connect";
    expect_answer(c);
    rl_task *t = rl_consumer_begin(c, on_open_ended);
    lua_State *co = rl_task_stack(t);
    rl_consumer_push_entry(c, co, RL_ENTRY_OPEN);
    lua_pushnumber(co, c->id);
    lua_pushstring(co, c->kind == RL_CONSUMER_WEBSOCKET ? "websocket" : "http");
    lua_pushlstring(co, rl_http_method(head).p, rl_http_method(head).n);
    push_path(co, rl_http_target(head));
    rl_consumer_push_fields(co, head, forwarded ? &via : NULL);
    rl_task_start(t, 5);
}

void rl_consumer_bind(rl_consumer *c, lua_State *L, int index)
{
    lua_pushvalue(L, index);
    int self = rl_vm_ref(L);
    luaL_unref(L, LUA_REGISTRYINDEX, c->self);
    c->self = self;
    c->bound = true;
}
