/* What is known of a consumer's peer and of its request; see bind_consumer.c. */
#include "bind/bind_consumer.h"

#include "core/names.h"

static int push_address(lua_State *L, rl_address address)
{
    char host[RL_HOST_MAX];

    if (!rl_address_is_ip(&address))
        return 0; /* a Unix socket's */
    lua_pushstring(L, rl_address_text(&address, host));
    lua_pushinteger(L, address.port);
    return 2;
}

/* peer(id) -> host, port | nil */
static int l_peer(lua_State *L)
{
    rl_consumer *c = rl_bind_find(L, 1);

    if (!c)
        return 0;
    return push_address(L, c->peer);
}

/* here(id) -> host, port | nil: the server's own address */
static int l_here(lua_State *L)
{
    rl_consumer *c = rl_bind_find(L, 1);

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
    rl_consumer *c = rl_bind_find(L, 1);

    if (!c)
        return 0;
    lua_pushboolean(L, c->secure);
    return 1;
}

/* tls(id) -> { version, cipher, … } | nil: it is plain, or gone */
static int l_tls(lua_State *L)
{
    rl_conn *stream = stream_of(rl_bind_find(L, 1));
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

/* names(id) -> request id, traceparent, tracestate | nil */
static int l_names(lua_State *L)
{
    rl_consumer *c = rl_bind_find(L, 1);
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
    {"names", l_names},   {"peer", l_peer}, {"here", l_here},
    {"secure", l_secure}, {"tls", l_tls},   {NULL, NULL},
};

void rl_open_consumer_facts(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
