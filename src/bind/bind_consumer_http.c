/* The answer to a handshake or a request, and the body of either; see bind_consumer.c. */
#include "bind/bind_consumer.h"

#include "proto/http_write.h"

#include <string.h>
#include <strings.h>

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
    rl_consumer *c = rl_bind_find(L, 1);
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
    rl_consumer *c = rl_bind_find(L, 1);
    rl_str subprotocol = rl_opt_str(L, 2);
    rl_buf headers = {0};
    check_subprotocol(L, subprotocol);
    check_headers(L, 3, &headers);
    int rc = RL_ECLOSED;

    if (c)
        rc = rl_consumer_accept(c, subprotocol, rl_buf_str(&headers), &err);
    rl_buf_fini(&headers);
    return c ? rl_bind_outcome(L, rc, &err) : rl_bind_gone(L);
}

/* accepted(id) -> was the handshake answered, either way? */
static int l_answered(lua_State *L)
{
    rl_consumer *c = rl_bind_find(L, 1);

    lua_pushboolean(L, !c || c->accepted || !c->http);
    return 1;
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
    rl_consumer *c = rl_bind_find(L, 1);
    lua_Integer place = luaL_checkinteger(L, 2);

    luaL_argcheck(L, place >= 0 && place < (lua_Integer)rl_worker_of(L)->server.nsets, 2,
                  "no such set");
    lua_pushboolean(L, !c || rl_consumer_limit(c, (unsigned)place));
    return 1;
}

/* respond(id, status, headers or nil, body or nil) -> true | nil, error. The whole answer. */
static int l_respond(lua_State *L)
{
    rl_consumer *c = rl_bind_find(L, 1);
    int status = check_status(L, 2);
    rl_str body = rl_opt_str(L, 4);
    rl_buf headers = {0};
    check_headers(L, 3, &headers);
    rl_err err;
    int rc = RL_ECLOSED;

    if (c)
        rc = rl_consumer_respond(c, status, rl_buf_str(&headers), body, &err);
    rl_buf_fini(&headers);
    return c ? rl_bind_outcome(L, rc, &err) : rl_bind_gone(L);
}

/* start(id, status, headers or nil, length or nil) -> true | nil, error */
static int l_start(lua_State *L)
{
    rl_consumer *c = rl_bind_find(L, 1);
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
    return c ? rl_bind_outcome(L, rc, &err) : rl_bind_gone(L);
}

/* stream(id, headers or nil, beat) -> true | nil, error. An answer in chunks that stays open; beat
 * is the seconds of silence before a comment is sent, 0: never. */
static int l_stream(lua_State *L)
{
    rl_consumer *c = rl_bind_find(L, 1);
    lua_Number beat = luaL_checknumber(L, 3);
    luaL_argcheck(L, beat >= 0 && beat <= 86400, 3, "0 to 86400 seconds");
    rl_buf headers = {0};
    check_headers(L, 2, &headers);
    rl_err err;
    int rc = RL_ECLOSED;

    if (c)
        rc = rl_consumer_stream(c, rl_buf_str(&headers), beat, &err);
    rl_buf_fini(&headers);
    return c ? rl_bind_outcome(L, rc, &err) : rl_bind_gone(L);
}

/* write(id, body, more) -> true | nil, error. Waits while the peer has too much unread. */
static int l_write(lua_State *L)
{
    rl_consumer *c = rl_bind_find(L, 1);
    rl_str body = rl_opt_str(L, 2);
    bool more = lua_toboolean(L, 3);
    rl_task *t = rl_task_current(L);
    rl_err err;

    if (!c)
        return rl_bind_gone(L);
    int rc = rl_consumer_write(c, body, more, &err);
    if (rc == 0 && more && rl_consumer_is_over(c))
        return rl_consumer_wait(c, L, t);
    return rl_bind_outcome(L, rc, &err);
}

/* body(id) -> bytes, done | nil, error. What has come of the request's body since the last call;
 * never waits. */
static int l_body(lua_State *L)
{
    rl_consumer *c = rl_bind_find(L, 1);

    if (!c || !c->http)
        return rl_bind_gone(L);
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
    rl_consumer *c = rl_bind_find(L, 1);

    if (!c || !c->http)
        return 0;
    const rl_http_head *trailers = rl_http_conn_trailers(c->http);
    if (!trailers)
        return 0;
    rl_consumer_push_fields(L, trailers, NULL);
    return 1;
}

static const luaL_Reg functions[] = {
    {"compression", l_compression},
    {"accept", l_accept},
    {"limit", l_limit},
    {"answered", l_answered},
    {"respond", l_respond},
    {"start", l_start},
    {"stream", l_stream},
    {"write", l_write}, /* yields */
    {"body", l_body},
    {"trailers", l_trailers},
    {NULL, NULL},
};

void rl_open_consumer_http(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
