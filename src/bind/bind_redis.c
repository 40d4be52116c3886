/* Connections to a Redis, one at a time (layer/redis.h). What makes a link of them is in
 * lua/rille/redis.
 *
 * A wire is what a userdata stands for. The connection may end before it, and it may be collected
 * before the connection has ended: it goes with the second of the two. */
#include "bind/bind.h"

#include "layer/redis.h"

#include <math.h>
#include <stdio.h>
#include <sys/random.h>

#define WIRE "rille.RedisWire"

enum {
    DEFAULT_QUEUE = 10000,
    MAX_COMMANDS = 100000, /* of one pipeline */
};

struct wire {
    rl_redis *redis;          /* NULL: it is over */
    rl_task *dialler;         /* waits until it is open */
    rl_task *reader;          /* waits for a message */
    rl_task *mourner;         /* waits for the end */
    bool held;                /* by a userdata */
    rl_err why;               /* it is over */
    rl_list left;             /* messages that were not taken by then */
    rl_redis_figures figures; /* as of then */
};

/* Into Lua */

static void push_err(lua_State *L, const rl_err *err)
{
    rl_vm_push_err(L, err);
    if (err->code == RL_EREDIS) {
        lua_pushlstring(L, err->msg, strcspn(err->msg, " "));
        lua_setfield(L, -2, "code");
    } else {
        lua_pushboolean(L, err->code == RL_EREDIS_DOUBT);
        lua_setfield(L, -2, "may_have_run");
    }
}

static int push_failure(lua_State *L, const rl_err *err)
{
    lua_pushnil(L);
    push_err(L, err);
    return 2;
}

static void push_integer(lua_State *L, long long i)
{
    char text[24];

    if (i >= -(1LL << 53) && i <= 1LL << 53) {
        lua_pushnumber(L, (lua_Number)i);
        return;
    }
    snprintf(text, sizeof(text), "%lld", i);
    lua_pushstring(L, text);
}

static void push_reply(lua_State *L, const rl_resp *reply)
{
    rl_err err;

    lua_checkstack(L, 8);
    switch (reply->type) {
    case RL_RESP_NIL:
        lua_pushlightuserdata(L, NULL);
        return;
    case RL_RESP_INT:
        push_integer(L, reply->integer);
        return;
    case RL_RESP_STRING:
        lua_pushlstring(L, reply->text.p, reply->text.n);
        return;
    case RL_RESP_ERROR:
        rl_err_set(&err, RL_EREDIS, "%s", reply->text.p);
        push_err(L, &err);
        return;
    case RL_RESP_ARRAY:
        lua_createtable(L, (int)reply->n, 0);
        for (size_t i = 0; i < reply->n; i++) {
            push_reply(L, reply->items[i]);
            lua_rawseti(L, -2, (int)i + 1);
        }
        return;
    }
}

/* channel, payload, the pattern it came by or nil, how many were dropped before it or nil. The
 * message is freed. */
static int push_message(lua_State *L, rl_redis_message *m)
{
    rl_resp *const *items = m->reply->items;
    size_t n = m->reply->n;

    push_reply(L, items[n - 2]);
    push_reply(L, items[n - 1]);
    if (n == 4)
        push_reply(L, items[1]);
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
        rl_task_wake(t, push_failure(rl_task_stack(t), err));
}

/* The life of a wire */

static rl_redis_message *next_left(struct wire *w)
{
    rl_list *it = rl_list_pop(&w->left);

    w->figures.queued -= it != NULL;
    return it ? RL_LIST_ENTRY(it, rl_redis_message, link) : NULL;
}

static void free_wire(struct wire *w)
{
    rl_redis_message *m;

    while ((m = next_left(w)))
        rl_redis_message_free(m);
    rl_free(w);
}

static void push_wire(lua_State *L, struct wire *w)
{
    struct wire **slot = lua_newuserdata(L, sizeof(*slot));

    *slot = w;
    w->held = true;
    luaL_getmetatable(L, WIRE);
    lua_setmetatable(L, -2);
}

static void on_open(void *owner)
{
    struct wire *w = owner;
    rl_task *t = w->dialler;

    w->dialler = NULL;
    push_wire(rl_task_stack(t), w);
    rl_task_wake(t, 1);
}

static void on_message(void *owner)
{
    struct wire *w = owner;
    rl_task *t = w->reader;

    w->reader = NULL;
    if (t)
        rl_task_wake(t, push_message(rl_task_stack(t), rl_redis_next_message(w->redis)));
}

static void on_closed(void *owner, const rl_err *why)
{
    struct wire *w = owner;
    rl_redis_message *m;

    w->figures = rl_redis_look(w->redis);
    while ((m = rl_redis_next_message(w->redis)))
        rl_list_push(&w->left, &m->link);
    w->redis = NULL;
    w->why = *why;
    wake_err(&w->dialler, why);
    wake_err(&w->reader, why);
    wake_err(&w->mourner, why);
    if (!w->held)
        free_wire(w);
}

static const rl_redis_events redis_events = {
    .on_open = on_open,
    .on_message = on_message,
    .on_closed = on_closed,
};

static struct wire *check_wire(lua_State *L, int arg)
{
    return *(struct wire **)luaL_checkudata(L, arg, WIRE);
}

/* close(wire) */
static int l_close(lua_State *L)
{
    struct wire *w = check_wire(L, 1);

    if (w->redis)
        rl_redis_close(w->redis);
    return 0;
}

static int wire_gc(lua_State *L)
{
    struct wire **slot = luaL_checkudata(L, 1, WIRE);
    struct wire *w = *slot;

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
    struct wire *w = op;

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
        return push_failure(L, &err);
    client->tls = tls;
    struct wire *w = rl_calloc(1, sizeof(*w));
    w->dialler = t;
    rl_list_init(&w->left);
    w->redis = rl_redis_open(t->vm->loop, &opts, &redis_events, w);
    rl_tls_client_close(tls);
    return rl_task_park(L, t, cancel_dial, w);
}

/* Commands */

struct op {
    rl_task *task;
    rl_redis_command *command;
    unsigned replies;
    enum shape { ONE, MANY, CONFIRMED } shape;
};

static int push_answer(lua_State *L, const struct op *op, rl_resp **replies)
{
    const rl_resp *last = replies[op->replies - 1];

    if (op->shape == MANY) {
        lua_createtable(L, (int)op->replies, 0);
        for (unsigned i = 0; i < op->replies; i++) {
            push_reply(L, replies[i]);
            lua_rawseti(L, -2, (int)i + 1);
        }
        return 1;
    }
    if (op->shape == CONFIRMED)
        last = replies[0]; /* a refusal is the only one */
    if (last->type == RL_RESP_ERROR) {
        lua_pushnil(L);
        push_reply(L, last);
        return 2;
    }
    if (op->shape == CONFIRMED)
        lua_pushboolean(L, true);
    else
        push_reply(L, last);
    return 1;
}

static void on_answer(void *arg, rl_resp **replies, const rl_err *err)
{
    struct op *op = arg;
    lua_State *L = rl_task_stack(op->task);

    rl_task_wake(op->task, err ? push_failure(L, err) : push_answer(L, op, replies));
    for (unsigned i = 0; replies && i < op->replies && replies[i]; i++)
        rl_resp_free(replies[i]);
    rl_free(op);
}

static void cancel_op(void *arg)
{
    struct op *op = arg;

    rl_redis_cancel(op->command);
    rl_free(op);
}

static uint64_t check_patience(lua_State *L, int arg)
{
    double seconds = luaL_checknumber(L, arg);

    luaL_argcheck(L, seconds > 0 && seconds <= 1e9, arg, "seconds above 0 and up to 1e9 expected");
    return (uint64_t)ceil(seconds * 1000);
}

enum { NUMBER_SIZE = 32 };

/* The value on top; `room` is for the text of a number. False: it is neither. */
static bool to_argument(lua_State *L, int index, char room[NUMBER_SIZE], rl_str *out)
{
    if (lua_type(L, index) == LUA_TSTRING) {
        out->p = lua_tolstring(L, index, &out->n);
        return true;
    }
    if (lua_type(L, index) != LUA_TNUMBER)
        return false;
    double d = lua_tonumber(L, index);
    bool whole = d == floor(d) && fabs(d) <= 9007199254740992.0;
    int n = snprintf(room, NUMBER_SIZE, whole ? "%.0f" : "%.17g", d);
    *out = (rl_str){room, (size_t)n};
    return true;
}

/* Room for n arguments, on the stack until the call is over. */
static rl_str *new_arguments(lua_State *L, size_t n, char (**rooms)[NUMBER_SIZE])
{
    rl_str *args = lua_newuserdata(L, n * (sizeof(*args) + NUMBER_SIZE));

    *rooms = (char(*)[NUMBER_SIZE])(args + n);
    return args;
}

/* Free the draft, and park until there are as many replies. */
static int ask(lua_State *L, struct wire *w, rl_buf *draft, rl_redis_request request,
               enum shape shape)
{
    rl_task *t = rl_task_current(L);
    rl_err err = {0};

    if (!w->redis)
        rl_err_set(&err, RL_EREDIS_DOWN, "%s (the command was not sent)", w->why.msg);
    else if (rl_redis_is_full(w->redis))
        rl_err_set(&err, RL_EREDIS_DOWN,
                   "Redis: the server takes too little of what it is told (the command was not "
                   "sent)");
    if (err.code) {
        rl_vm_free_draft(draft);
        return push_failure(L, &err);
    }
    struct op *op = rl_malloc(sizeof(*op));
    *op = (struct op){.task = t, .replies = request.replies, .shape = shape};
    request.bytes = rl_buf_str(draft);
    op->command = rl_redis_ask(w->redis, &request, on_answer, op);
    rl_vm_free_draft(draft);
    return rl_task_park(L, t, cancel_op, op);
}

static int run(lua_State *L, bool blocks)
{
    struct wire *w = check_wire(L, 1);
    rl_redis_request request = {.replies = 1, .patience = check_patience(L, 2), .blocks = blocks};
    int n = lua_gettop(L) - 2;
    char(*rooms)[NUMBER_SIZE];
    luaL_argcheck(L, n > 0, 3, "a command expected");

    rl_str *args = new_arguments(L, (size_t)n, &rooms);
    for (int i = 0; i < n; i++)
        if (!to_argument(L, i + 3, rooms[i], &args[i]))
            return luaL_argerror(L, i + 3, "a string or a number expected");
    rl_task_current(L);
    rl_buf *draft = rl_vm_draft(rl_vm_of(L));
    rl_resp_add_command(draft, args, (size_t)n);
    return ask(L, w, draft, request, ONE);
}

/* call(wire, seconds, command, …) -> reply | nil, error */
static int l_call(lua_State *L)
{
    return run(L, false);
}

/* block(wire, seconds, command, …) -> reply | nil, error */
static int l_block(lua_State *L)
{
    return run(L, true);
}

/* Append what a table lists, behind `verb` if there is one. -> how many that is */
static size_t add_listed(lua_State *L, rl_buf *out, int table, const char *verb)
{
    size_t n = lua_objlen(L, table), first = verb != NULL;
    char(*rooms)[NUMBER_SIZE];
    rl_str *args = new_arguments(L, n + first, &rooms);

    if (verb)
        args[0] = rl_str_of(verb);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, table, (int)i + 1);
        if (!to_argument(L, -1, rooms[i], &args[i + first]))
            luaL_error(L, "redis: a string or a number expected in a command, got %s",
                       luaL_typename(L, -1));
        lua_pop(L, 1); /* the table holds it */
    }
    if (n)
        rl_resp_add_command(out, args, n + first);
    lua_pop(L, 1);
    return n;
}

/* pipeline(wire, seconds, commands) -> replies | nil, error */
static int l_pipeline(lua_State *L)
{
    struct wire *w = check_wire(L, 1);
    rl_redis_request request = {.patience = check_patience(L, 2)};
    luaL_checktype(L, 3, LUA_TTABLE);
    size_t n = lua_objlen(L, 3);
    luaL_argcheck(L, n > 0 && n <= MAX_COMMANDS, 3, "1 to 100000 commands expected");
    rl_task_current(L);

    rl_buf *draft = rl_vm_draft(rl_vm_of(L));
    for (size_t i = 1; i <= n; i++) {
        lua_rawgeti(L, 3, (int)i);
        luaL_argcheck(L, lua_istable(L, -1), 3, "a list of commands, each a list, expected");
        luaL_argcheck(L, add_listed(L, draft, lua_gettop(L), NULL) > 0, 3, "an empty command");
        lua_pop(L, 1);
    }
    request.replies = (unsigned)n;
    return ask(L, w, draft, request, MANY);
}

/* subscription(wire, seconds, verb, names) -> true | nil, error */
static int l_subscription(lua_State *L)
{
    static const char *const verbs[] = {"subscribe", "unsubscribe", "psubscribe", "punsubscribe",
                                        NULL};
    struct wire *w = check_wire(L, 1);
    rl_redis_request request = {.patience = check_patience(L, 2), .subscribes = true};
    const char *verb = verbs[luaL_checkoption(L, 3, NULL, verbs)];
    luaL_checktype(L, 4, LUA_TTABLE);
    luaL_argcheck(L, lua_objlen(L, 4) > 0, 4, "a name expected");
    rl_task_current(L);

    rl_buf *draft = rl_vm_draft(rl_vm_of(L));
    request.replies = (unsigned)add_listed(L, draft, 4, verb);
    return ask(L, w, draft, request, CONFIRMED);
}

/* Waiting for what comes by itself */

static void cancel_next(void *op)
{
    ((struct wire *)op)->reader = NULL;
}

/* next(wire) -> channel, payload, pattern or nil, how many are missing before it or nil
 * | nil, error */
static int l_next(lua_State *L)
{
    struct wire *w = check_wire(L, 1);
    rl_task *t = rl_task_current(L);
    luaL_argcheck(L, !w->reader, 1, "somebody waits for its messages already");

    rl_redis_message *m = w->redis ? rl_redis_next_message(w->redis) : next_left(w);
    if (m)
        return push_message(L, m);
    if (!w->redis)
        return push_failure(L, &w->why);
    w->reader = t;
    return rl_task_park(L, t, cancel_next, w);
}

static void cancel_lost(void *op)
{
    ((struct wire *)op)->mourner = NULL;
}

/* lost(wire) -> nil, error */
static int l_lost(lua_State *L)
{
    struct wire *w = check_wire(L, 1);
    rl_task *t = rl_task_current(L);
    luaL_argcheck(L, !w->mourner, 1, "somebody waits for its end already");

    if (!w->redis)
        return push_failure(L, &w->why);
    w->mourner = t;
    return rl_task_park(L, t, cancel_lost, w);
}

/* figures(wire) -> { pending =, queued =, dropped =, abandoned =, silent = } */
static int l_figures(lua_State *L)
{
    struct wire *w = check_wire(L, 1);
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
    {"random", l_random},
    {"dial", l_dial},                 /* yields */
    {"call", l_call},                 /* yields */
    {"block", l_block},               /* yields */
    {"pipeline", l_pipeline},         /* yields */
    {"subscription", l_subscription}, /* yields */
    {"next", l_next},                 /* yields */
    {"lost", l_lost},                 /* yields */
    {"close", l_close},
    {"figures", l_figures},
    {NULL, NULL},
};

int rl_open_redis(lua_State *L)
{
    luaL_newmetatable(L, WIRE);
    lua_pushcfunction(L, wire_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
