/* Connections to a Redis, one at a time (layer/redis.h): dialled, waited on, closed. What makes a
 * link of them is in lua/rille/redis. */
#include "bind/bind_redis.h"

#include <math.h>
#include <sys/random.h>

#define WIRE "rille.RedisWire"

enum { DEFAULT_QUEUE = 10000 };

/* channel, payload, the pattern it came by or nil, how many were dropped before it or nil. The
 * message is freed. */
static int push_message(lua_State *L, rl_redis_message *m)
{
    rl_resp *const *items = m->reply->items;
    size_t n = m->reply->n;

    rl_push_redis_reply(L, items[n - 2]);
    rl_push_redis_reply(L, items[n - 1]);
    if (n == 4)
        rl_push_redis_reply(L, items[1]);
    else
        lua_pushnil(L);
    if (m->missed)
        lua_pushnumber(L, (lua_Number)m->missed);
    else
        lua_pushnil(L);
    rl_redis_message_free(m);
    return 4;
}

static void wake_err(rl_task **waiting, const rl_err *err)
{
    rl_task *t = *waiting;

    *waiting = NULL;
    if (t)
        rl_task_wake(t, rl_push_redis_failure(rl_task_stack(t), err));
}

/* The life of a wire */

static rl_redis_message *next_left(rl_wire *w)
{
    rl_list *it = rl_list_pop(&w->left);

    w->figures.queued -= it != NULL;
    return it ? RL_LIST_ENTRY(it, rl_redis_message, link) : NULL;
}

static void free_wire(rl_wire *w)
{
    rl_redis_message *m;

    while ((m = next_left(w)))
        rl_redis_message_free(m);
    rl_redis_drop_outcomes(w);
    rl_free(w);
}

static void push_wire(lua_State *L, rl_wire *w)
{
    rl_wire **slot = lua_newuserdata(L, sizeof(*slot));

    *slot = w;
    w->held = true;
    luaL_getmetatable(L, WIRE);
    lua_setmetatable(L, -2);
}

static void on_open(void *owner)
{
    rl_wire *w = owner;
    rl_task *t = w->dialler;

    w->dialler = NULL;
    push_wire(rl_task_stack(t), w);
    rl_task_wake(t, 1);
}

static void on_message(void *owner)
{
    rl_wire *w = owner;
    rl_task *t = w->reader;

    w->reader = NULL;
    if (t)
        rl_task_wake(t, push_message(rl_task_stack(t), rl_redis_next_message(w->redis)));
}

static void on_closed(void *owner, const rl_err *why)
{
    rl_wire *w = owner;
    rl_redis_message *m;

    w->figures = rl_redis_look(w->redis);
    while ((m = rl_redis_next_message(w->redis)))
        rl_list_push(&w->left, &m->link);
    w->redis = NULL;
    w->why = *why;
    wake_err(&w->dialler, why);
    wake_err(&w->reader, why);
    wake_err(&w->mourner, why);
    rl_redis_end_outcomes(w);
    if (!w->held)
        free_wire(w);
}

static const rl_redis_events redis_events = {
    .on_open = on_open,
    .on_message = on_message,
    .on_closed = on_closed,
};

rl_wire *rl_check_wire(lua_State *L, int arg)
{
    return *(rl_wire **)luaL_checkudata(L, arg, WIRE);
}

/* close(wire) */
static int l_close(lua_State *L)
{
    rl_wire *w = rl_check_wire(L, 1);

    if (w->redis)
        rl_redis_close(w->redis);
    return 0;
}

static int wire_gc(lua_State *L)
{
    rl_wire **slot = luaL_checkudata(L, 1, WIRE);
    rl_wire *w = *slot;

    w->held = false;
    if (w->redis)
        rl_redis_close(w->redis);
    else
        free_wire(w);
    return 0;
}

/* Dialling */

static const char *text_field(lua_State *L, int index, const char *name)
{
    lua_getfield(L, index, name);
    if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "redis.dial: %s: a string expected, got %s", name, luaL_typename(L, -1));
    const char *text = lua_tostring(L, -1); /* the table holds it */
    lua_pop(L, 1);
    return text;
}

static double number_field(lua_State *L, int index, const char *name, double otherwise, double most)
{
    lua_getfield(L, index, name);
    double d = lua_isnil(L, -1) ? otherwise : lua_tonumber(L, -1);
    if (!(d > 0 && d <= most))
        luaL_error(L, "redis.dial: %s: a number above 0 and up to %f expected", name, most);
    lua_pop(L, 1);
    return d;
}

static int open_tls(lua_State *L, rl_tls_client **out, rl_err *err)
{
    rl_err why;

    lua_getfield(L, 1, "tls"); /* [address, …, tls] */
    *out = NULL;
    if (!lua_istable(L, -1))
        return 0;
    int at = lua_gettop(L);
    rl_tls_client_config config = {
        .ca = text_field(L, at, "ca"),
        .cert = text_field(L, at, "cert"),
        .key = text_field(L, at, "key"),
        .name = text_field(L, at, "name"),
    };
    lua_getfield(L, at, "verify");
    config.unverified = !lua_toboolean(L, -1);
    if (rl_tls_client_open(out, &config, &why) == 0)
        return 0;
    return rl_err_set(err, RL_EREDIS_DOWN, "Redis: %s", why.msg);
}

static void cancel_dial(void *op)
{
    rl_wire *w = op;

    w->dialler = NULL;
    rl_redis_close(w->redis);
}

/* dial{…} -> wire | nil, error */
static int l_dial(lua_State *L)
{
    rl_tls_client *tls;
    rl_err err;
    luaL_checktype(L, 1, LUA_TTABLE);
    rl_redis_opts opts = {.queue = (unsigned)number_field(L, 1, "queue", DEFAULT_QUEUE, 1e9)};
    rl_client_opts *client = &opts.client;
    client->where.path = text_field(L, 1, "path");
    client->where.host = text_field(L, 1, "host");
    luaL_argcheck(L, client->where.path || client->where.host, 1, "a host or a path expected");
    if (!client->where.path)
        client->where.port = (uint16_t)number_field(L, 1, "port", 0, 65535);
    client->patience = (uint64_t)ceil(1000 * number_field(L, 1, "timeout", 0, 1e9));
    rl_task *t = rl_task_current(L);

    if (open_tls(L, &tls, &err) < 0)
        return rl_push_redis_failure(L, &err);
    client->tls = tls;
    rl_wire *w = rl_calloc(1, sizeof(*w));
    w->dialler = t;
    rl_list_init(&w->left);
    rl_list_init(&w->outcomes);
    w->redis = rl_redis_open(t->vm->loop, &opts, &redis_events, w);
    rl_tls_client_close(tls);
    return rl_task_park(L, t, cancel_dial, w);
}

/* Waiting for what comes by itself */

static void cancel_next(void *op)
{
    ((rl_wire *)op)->reader = NULL;
}

/* next(wire) -> channel, payload, pattern or nil, how many are missing before it or nil
 * | nil, error */
static int l_next(lua_State *L)
{
    rl_wire *w = rl_check_wire(L, 1);
    rl_task *t = rl_task_current(L);
    luaL_argcheck(L, !w->reader, 1, "somebody waits for its messages already");

    rl_redis_message *m = w->redis ? rl_redis_next_message(w->redis) : next_left(w);
    if (m)
        return push_message(L, m);
    if (!w->redis)
        return rl_push_redis_failure(L, &w->why);
    w->reader = t;
    return rl_task_park(L, t, cancel_next, w);
}

static void cancel_lost(void *op)
{
    ((rl_wire *)op)->mourner = NULL;
}

/* lost(wire) -> nil, error */
static int l_lost(lua_State *L)
{
    rl_wire *w = rl_check_wire(L, 1);
    rl_task *t = rl_task_current(L);
    luaL_argcheck(L, !w->mourner, 1, "somebody waits for its end already");

    if (!w->redis)
        return rl_push_redis_failure(L, &w->why);
    w->mourner = t;
    return rl_task_park(L, t, cancel_lost, w);
}

/* figures(wire) -> { pending =, queued =, dropped =, abandoned =, silent = } */
static int l_figures(lua_State *L)
{
    rl_wire *w = rl_check_wire(L, 1);
    rl_redis_figures f = w->redis ? rl_redis_look(w->redis) : w->figures;
    const struct {
        const char *name;
        double value;
    } fields[] = {
        {"pending", f.pending},
        {"queued", f.queued},
        {"dropped", (double)f.dropped},
        {"abandoned", (double)f.abandoned},
        {"silent", (double)f.silent / 1000},
    };

    lua_createtable(L, 0, RL_COUNT(fields));
    for (size_t i = 0; i < RL_COUNT(fields); i++) {
        lua_pushnumber(L, fields[i].value);
        lua_setfield(L, -2, fields[i].name);
    }
    return 1;
}

/* random(n) -> as many random bytes */
static int l_random(lua_State *L)
{
    char bytes[256];
    lua_Integer n = luaL_checkinteger(L, 1);
    luaL_argcheck(L, n >= 1 && n <= (lua_Integer)sizeof(bytes), 1, "1 to 256 bytes");

    if (getrandom(bytes, (size_t)n, 0) != n)
        return luaL_error(L, "redis.random: the system has no random bytes");
    lua_pushlstring(L, bytes, (size_t)n);
    return 1;
}

static const luaL_Reg functions[] = {
    {"random", l_random}, {"dial", l_dial}, /* yields */
    {"next", l_next},                       /* yields */
    {"lost", l_lost},                       /* yields */
    {"close", l_close},   {"figures", l_figures}, {NULL, NULL},
};

int rl_open_redis(lua_State *L)
{
    luaL_newmetatable(L, WIRE);
    lua_pushcfunction(L, wire_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    rl_open_redis_command(L);
    return 1;
}
