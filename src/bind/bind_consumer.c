/* What a handler may do to its connection, by the number in self._id. */
#include "bind/bind.h"

#include "core/background.h"
#include "core/names.h"
#include "proto/http_write.h"
#include "proto/utf8.h"

#include <string.h>
#include <strings.h>

static int gone(lua_State *L)
{
    rl_err err;

    rl_err_set(&err, RL_ECLOSED, "the connection is closed");
    return rl_failure(L, &err);
}

static rl_consumer *find(lua_State *L, int arg)
{
    return rl_roster_find(&rl_worker_of(L)->roster, luaL_checknumber(L, arg));
}

/* true, or nil and the error. */
static int outcome(lua_State *L, int rc, const rl_err *err)
{
    if (rc < 0)
        return rl_failure(L, err);
    lua_pushboolean(L, true);
    return 1;
}

/* How a message is framed is the server's to say; a second voice would make two of it. */
static bool says_framing(rl_str name)
{
    static const char *const ours[] = {
        "content-length",       "transfer-encoding",       "connection", "keep-alive", "upgrade",
        "sec-websocket-accept", "sec-websocket-extensions"};

    for (size_t i = 0; i < RL_COUNT(ours); i++)
        if (strlen(ours[i]) == name.n && strncasecmp(name.p, ours[i], name.n) == 0)
            return true;
    return false;
}

/* Header lines from a table: { name = value } or { { name, value }, … }, values also lists.
 * Raises, with out released, on what is no header; leaves out what is the server's to say. */
static void add_header(lua_State *L, rl_buf *out, int name, int value)
{
    rl_err err;
    size_t nname = 0, nvalue = 0;
    const char *pname = lua_type(L, name) == LUA_TSTRING ? lua_tolstring(L, name, &nname) : NULL;
    bool plain = lua_type(L, value) == LUA_TSTRING || lua_type(L, value) == LUA_TNUMBER;
    const char *pvalue = plain ? lua_tolstring(L, value, &nvalue) : NULL;
    int rc;

    if (pname && says_framing((rl_str){pname, nname}))
        return;
    if (!pname || !pvalue)
        rc = rl_err_set(&err, RL_ESYNTAX, "a header needs a name and a value, both strings");
    else
        rc = rl_http_write_field(out, (rl_str){pname, nname}, (rl_str){pvalue, nvalue}, &err);
    if (rc < 0) {
        rl_buf_fini(out);
        luaL_error(L, "%s", err.msg);
    }
}

static void check_headers(lua_State *L, int arg, rl_buf *out)
{
    if (lua_isnoneornil(L, arg))
        return;
    luaL_checktype(L, arg, LUA_TTABLE);
    luaL_checkstack(L, 8, "headers");
    lua_pushnil(L);
    while (lua_next(L, arg)) { /* [name, value] */
        int name = lua_gettop(L) - 1, value = lua_gettop(L);
        if (lua_type(L, value) == LUA_TTABLE && lua_type(L, name) == LUA_TNUMBER) {
            lua_rawgeti(L, value, 1);
            lua_rawgeti(L, value, 2);
            add_header(L, out, value + 1, value + 2);
        } else if (lua_type(L, value) == LUA_TTABLE) {
            for (int i = 1; i <= (int)lua_objlen(L, value); i++) {
                lua_rawgeti(L, value, i);
                add_header(L, out, name, value + 1);
                lua_settop(L, value);
            }
        } else {
            add_header(L, out, name, value);
        }
        lua_settop(L, name);
    }
}

/* bind(id, self, own_send): self answers for this connection from now on. */
static int l_bind(lua_State *L)
{
    rl_consumer *c = find(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);

    if (!c)
        return gone(L);
    c->own_send = lua_toboolean(L, 3);
    rl_consumer_bind(c, L, 2);
    lua_pushboolean(L, true);
    return 1;
}

/* is_bound(id) -> is its disconnect still to come? */
static int l_is_bound(lua_State *L)
{
    rl_consumer *c = find(L, 1);

    lua_pushboolean(L, c && c->bound);
    return 1;
}

/* background(origin, patient) -> id: a consumer without a peer. dispatch.background makes its self
 * of the origin, a table, at the end of the turn. */
static int l_background(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);

    lua_pushnumber(L, rl_background_open(rl_worker_of(L), L, 1, lua_toboolean(L, 2))->id);
    return 1;
}

/* tick(id, name, due, skipped) -> true: it begins; false: its handler is under way; nil: it is
 * gone. An event "timer" for a consumer that has nothing else to do. */
static int l_tick(lua_State *L)
{
    const rl_field fields[] = {
        {.name = "name", .text = rl_check_str(L, 2)},
        {.name = "due", .number = luaL_checknumber(L, 3)},
        {.name = "skipped", .number = luaL_checknumber(L, 4)},
    };
    rl_consumer *c = find(L, 1);
    rl_ticked ticked = c ? rl_background_tick(c, "timer", fields, RL_COUNT(fields)) : RL_TICK_OVER;

    if (ticked == RL_TICK_OVER)
        return 0;
    lua_pushboolean(L, ticked == RL_TICK_BEGINS);
    return 1;
}

/* run(id, generation, own_send or nil): it runs this generation from now on; own_send as its class
 * says, if it has become another. */
static int l_run(lua_State *L)
{
    rl_consumer *c = find(L, 1);
    lua_Integer generation = luaL_checkinteger(L, 2);

    if (!c)
        return 0;
    rl_consumer_run(c, (unsigned)generation);
    if (!lua_isnoneornil(L, 3))
        c->own_send = lua_toboolean(L, 3);
    return 0;
}

/* pin(id): it stays with its generation. */
static int l_pin(lua_State *L)
{
    rl_consumer *c = find(L, 1);

    if (c)
        c->pinned = true;
    return 0;
}

/* unlogged(id): its request has no line in the access log. */
static int l_unlogged(lua_State *L)
{
    rl_consumer *c = find(L, 1);

    if (c)
        c->unlogged = true;
    return 0;
}

/* nudge(id): an event of its own, before which it takes its new class. */
static int l_nudge(lua_State *L)
{
    rl_consumer *c = find(L, 1);

    if (c)
        rl_consumer_nudge(c);
    return 0;
}

/* is_idle(id) -> has it nothing to do? */
static int l_is_idle(lua_State *L)
{
    rl_consumer *c = find(L, 1);

    lua_pushboolean(L, c && !c->task && !c->nqueued);
    return 1;
}

static unsigned check_number(lua_State *L, int table, const char *name, unsigned most)
{
    lua_getfield(L, table, name);
    lua_Number n = lua_tonumber(L, -1); /* nil is 0: the default */
    lua_pop(L, 1);
    if (!(n >= 0 && n <= most))
        luaL_error(L, "bad compression: %s", name);
    return (unsigned)n;
}

static bool check_flag(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    bool on = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return on;
}

/* compression(id, { off =, threshold =, level =, bits =, client_bits =, takeover =,
 * client_takeover = }): for an accept to come. rille.compression has checked them. */
static int l_compression(lua_State *L)
{
    rl_consumer *c = find(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    rl_deflate_settings settings = {
        .threshold = check_number(L, 2, "threshold", INT32_MAX),
        .level = (uint8_t)check_number(L, 2, "level", 9),
        .bits = (uint8_t)check_number(L, 2, "bits", RL_DEFLATE_BITS_MAX),
        .peer_bits = (uint8_t)check_number(L, 2, "client_bits", RL_DEFLATE_BITS_MAX),
        .off = check_flag(L, 2, "off"),
        .takeover = check_flag(L, 2, "takeover"),
        .peer_takeover = check_flag(L, 2, "client_takeover"),
    };

    if (c && c->http)
        rl_http_conn_set_compression(c->http, &settings);
    return 0;
}

static void check_subprotocol(lua_State *L, rl_str name)
{
    rl_buf probe = {0};
    rl_err err;

    if (name.n && rl_http_write_field(&probe, RL_STR("x"), name, &err) < 0)
        luaL_error(L, "bad subprotocol: %s", err.msg);
    rl_buf_fini(&probe);
}

/* accept(id, subprotocol or nil, headers or nil) -> true | nil, error */
static int l_accept(lua_State *L)
{
    rl_err err;
    rl_consumer *c = find(L, 1);
    rl_str subprotocol = rl_opt_str(L, 2);
    rl_buf headers = {0};
    check_subprotocol(L, subprotocol);
    check_headers(L, 3, &headers);
    int rc = RL_ECLOSED;

    if (c)
        rc = rl_consumer_accept(c, subprotocol, rl_buf_str(&headers), &err);
    rl_buf_fini(&headers);
    return c ? outcome(L, rc, &err) : gone(L);
}

/* accepted(id) -> was the handshake answered, either way? */
static int l_answered(lua_State *L)
{
    rl_consumer *c = find(L, 1);

    lua_pushboolean(L, !c || c->accepted || !c->http);
    return 1;
}

/* send(id, text or nil, bytes or nil) -> true | nil, error. The hot path: it asks Lua for no more
 * than it needs. */
static int l_send(lua_State *L)
{
    double id = luaL_checknumber(L, 1);
    bool text = !lua_isnoneornil(L, 2);
    size_t n;
    const char *p = luaL_checklstring(L, text ? 2 : 3, &n);
    rl_task *t = rl_task_current(L);
    rl_consumer *c = rl_roster_find(&RL_CONTAINER_OF(t->vm, rl_worker, vm)->roster, id);
    rl_err err;

    if (!c)
        return gone(L);
    if (text && !rl_utf8_valid((rl_str){p, n}))
        return luaL_argerror(L, 2, "text_data is not UTF-8 (send it as bytes_data)");
    int rc = rl_consumer_send(c, text, (rl_str){p, n}, &err);
    if (RL_UNLIKELY(rc < 0))
        return rl_failure(L, &err);
    if (RL_UNLIKELY(rl_consumer_is_over(c)))
        return rl_consumer_wait(c, L, t);
    lua_pushboolean(L, true);
    return 1;
}

/* close(id, code, reason): 403 before accept. Closing twice is harmless. */
static int l_close(lua_State *L)
{
    rl_consumer *c = find(L, 1);
    lua_Integer code = luaL_optinteger(L, 2, 1000);
    rl_str reason = rl_opt_str(L, 3);
    luaL_argcheck(L, code >= 0 && code < 5000 && rl_ws_close_code_valid((unsigned)code), 2,
                  "close codes are 1000 to 1014 without the reserved ones, and 3000 to 4999");
    luaL_argcheck(L, reason.n <= 123 && rl_utf8_valid(reason), 3,
                  "a reason is UTF-8 of at most 123 bytes");

    if (c)
        rl_consumer_close(c, (uint16_t)code, reason);
    return 0;
}

static int check_status(lua_State *L, int arg)
{
    lua_Integer status = luaL_checkinteger(L, arg);

    luaL_argcheck(L, status >= 200 && status <= 599, arg, "a status is 200 to 599");
    return (int)status;
}

/* limit(id, place) -> whether to go on: false when the body is too long for its route, which was
 * answered. The place is that of the route's limits (worker.places). */
static int l_limit(lua_State *L)
{
    rl_consumer *c = find(L, 1);
    lua_Integer place = luaL_checkinteger(L, 2);

    luaL_argcheck(L, place >= 0 && place < (lua_Integer)rl_worker_of(L)->server.nsets, 2,
                  "no such set");
    lua_pushboolean(L, !c || rl_consumer_limit(c, (unsigned)place));
    return 1;
}

/* respond(id, status, headers or nil, body or nil) -> true | nil, error. The whole answer. */
static int l_respond(lua_State *L)
{
    rl_consumer *c = find(L, 1);
    int status = check_status(L, 2);
    rl_str body = rl_opt_str(L, 4);
    rl_buf headers = {0};
    check_headers(L, 3, &headers);
    rl_err err;
    int rc = RL_ECLOSED;

    if (c)
        rc = rl_consumer_respond(c, status, rl_buf_str(&headers), body, &err);
    rl_buf_fini(&headers);
    return c ? outcome(L, rc, &err) : gone(L);
}

/* start(id, status, headers or nil, length or nil) -> true | nil, error */
static int l_start(lua_State *L)
{
    rl_consumer *c = find(L, 1);
    int status = check_status(L, 2);
    lua_Number length = luaL_optnumber(L, 4, -1);
    luaL_argcheck(L, length >= -1 && length < 9007199254740992.0, 4, "bad length");
    rl_buf headers = {0};
    check_headers(L, 3, &headers);
    rl_err err;
    int rc = RL_ECLOSED;

    if (c)
        rc = rl_consumer_start(c, status, rl_buf_str(&headers), (int64_t)length, &err);
    rl_buf_fini(&headers);
    return c ? outcome(L, rc, &err) : gone(L);
}

/* stream(id, headers or nil, beat) -> true | nil, error. An answer in chunks that stays open; beat
 * is the seconds of silence before a comment is sent, 0: never. */
static int l_stream(lua_State *L)
{
    rl_consumer *c = find(L, 1);
    lua_Number beat = luaL_checknumber(L, 3);
    luaL_argcheck(L, beat >= 0 && beat <= 86400, 3, "0 to 86400 seconds");
    rl_buf headers = {0};
    check_headers(L, 2, &headers);
    rl_err err;
    int rc = RL_ECLOSED;

    if (c)
        rc = rl_consumer_stream(c, rl_buf_str(&headers), beat, &err);
    rl_buf_fini(&headers);
    return c ? outcome(L, rc, &err) : gone(L);
}

/* write(id, body, more) -> true | nil, error. Waits while the peer has too much unread. */
static int l_write(lua_State *L)
{
    rl_consumer *c = find(L, 1);
    rl_str body = rl_opt_str(L, 2);
    bool more = lua_toboolean(L, 3);
    rl_task *t = rl_task_current(L);
    rl_err err;

    if (!c)
        return gone(L);
    int rc = rl_consumer_write(c, body, more, &err);
    if (rc == 0 && more && rl_consumer_is_over(c))
        return rl_consumer_wait(c, L, t);
    return outcome(L, rc, &err);
}

/* body(id) -> bytes, done | nil, error. What has come of the request's body since the last call;
 * never waits. */
static int l_body(lua_State *L)
{
    rl_consumer *c = find(L, 1);

    if (!c || !c->http)
        return gone(L);
    rl_buf *body = rl_vm_draft(rl_vm_of(L));
    bool done = rl_http_conn_take_body(c->http, body);
    lua_pushlstring(L, rl_buf_str(body).p, body->len);
    rl_vm_free_draft(body);
    lua_pushboolean(L, done);
    return 2;
}

/* trailers(id) -> fields, as dispatch gets a head's | nil before the body's end */
static int l_trailers(lua_State *L)
{
    rl_consumer *c = find(L, 1);

    if (!c || !c->http)
        return 0;
    const rl_http_head *trailers = rl_http_conn_trailers(c->http);
    if (!trailers)
        return 0;
    rl_consumer_push_fields(L, trailers, NULL);
    return 1;
}

/* wait(id) -> true | nil, error. Until more of the body is here, or the peer has read. */
static int l_wait(lua_State *L)
{
    rl_consumer *c = find(L, 1);
    rl_task *t = rl_task_current(L);

    if (!c || c->gone)
        return gone(L);
    return rl_consumer_wait(c, L, t);
}

static int push_address(lua_State *L, rl_address address)
{
    char host[RL_HOST_MAX];

    if (!rl_address_is_ip(&address))
        return 0; /* a Unix socket's */
    lua_pushstring(L, rl_address_text(&address, host));
    lua_pushinteger(L, address.port);
    return 2;
}

/* generation(id) -> of the code that this connection runs, the number of its route | nil */
static int l_generation(lua_State *L)
{
    rl_consumer *c = find(L, 1);

    if (!c)
        return 0;
    lua_pushinteger(L, (lua_Integer)c->generation->number);
    lua_pushinteger(L, c->route);
    return 2;
}

/* peer(id) -> host, port | nil */
static int l_peer(lua_State *L)
{
    rl_consumer *c = find(L, 1);

    if (!c)
        return 0;
    return push_address(L, c->peer);
}

/* here(id) -> host, port | nil: the server's own address */
static int l_here(lua_State *L)
{
    rl_consumer *c = find(L, 1);

    return c && c->http ? push_address(L, rl_conn_local(rl_http_conn_stream(c->http))) : 0;
}

static void set_text(lua_State *L, const char *name, const char *text)
{
    if (!text || !*text)
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

static rl_conn *stream_of(const rl_consumer *c)
{
    if (!c)
        return NULL;
    return c->http ? rl_http_conn_stream(c->http) : c->ws ? rl_ws_conn_stream(c->ws) : NULL;
}

/* secure(id) -> does the client speak TLS to us? | nil: it is gone */
static int l_secure(lua_State *L)
{
    rl_consumer *c = find(L, 1);

    if (!c)
        return 0;
    lua_pushboolean(L, c->secure);
    return 1;
}

/* tls(id) -> { version, cipher, … } | nil: it is plain, or gone */
static int l_tls(lua_State *L)
{
    rl_conn *stream = stream_of(find(L, 1));
    rl_tls_facts facts;

    if (!stream || !rl_conn_tls_facts(stream, &facts))
        return 0;
    lua_newtable(L);
    set_text(L, "version", facts.version);
    set_text(L, "cipher", facts.cipher);
    set_text(L, "server_name", facts.server_name);
    set_text(L, "client_name", facts.client_name);
    lua_pushboolean(L, facts.resumed);
    lua_setfield(L, -2, "resumed");
    if (facts.alpn.n) {
        lua_pushlstring(L, facts.alpn.p, facts.alpn.n);
        lua_setfield(L, -2, "alpn");
    }
    return 1;
}

/* route(id, number): which one it is counted under (worker.route gives the number) */
static int l_route(lua_State *L)
{
    rl_consumer *c = find(L, 1);
    unsigned number = (unsigned)luaL_checkinteger(L, 2);

    if (c && number < c->worker->routes.n)
        c->route = (uint16_t)number;
    return 0;
}

/* names(id) -> request id, traceparent, tracestate | nil */
static int l_names(lua_State *L)
{
    rl_consumer *c = find(L, 1);
    char id[RL_REQUEST_ID_SIZE], parent[RL_TRACE_PARENT_LEN + 1];
    rl_trace trace;

    if (!c)
        return 0;
    rl_names_trace(c, &trace);
    rl_trace_text(&trace, parent);
    lua_pushstring(L, rl_names_request_id(c, id));
    lua_pushstring(L, parent);
    lua_pushstring(L, rl_names_tracestate(c));
    return 3;
}

static const luaL_Reg functions[] = {
    {"route", l_route},
    {"names", l_names},
    {"bind", l_bind},
    {"is_bound", l_is_bound},
    {"background", l_background},
    {"tick", l_tick},
    {"run", l_run},
    {"pin", l_pin},
    {"nudge", l_nudge},
    {"unlogged", l_unlogged},
    {"is_idle", l_is_idle},
    {"compression", l_compression},
    {"accept", l_accept},
    {"limit", l_limit},
    {"answered", l_answered},
    {"send", l_send}, /* yields */
    {"close", l_close},
    {"respond", l_respond},
    {"start", l_start},
    {"stream", l_stream},
    {"write", l_write}, /* yields */
    {"body", l_body},
    {"trailers", l_trailers},
    {"wait", l_wait}, /* yields */
    {"peer", l_peer},
    {"here", l_here},
    {"secure", l_secure},
    {"tls", l_tls},
    {"generation", l_generation},
    {NULL, NULL},
};

int rl_open_consumer(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    rl_open_consumer_look(L);
    return 1;
}
