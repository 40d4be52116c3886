/* Commands to a Redis, and what it replies. */
#include "bind/bind_redis.h"

#include <math.h>
#include <stdio.h>

enum {
    MAX_COMMANDS = 100000, /* of one pipeline */
    MAX_UNCONFIRMED = 512, /* commands that were posted and have no reply yet, a wire */
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

int rl_push_redis_failure(lua_State *L, const rl_err *err)
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

void rl_push_redis_reply(lua_State *L, const rl_resp *reply)
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
            rl_push_redis_reply(L, reply->items[i]);
            lua_rawseti(L, -2, (int)i + 1);
        }
        return;
    }
}

/* Asking */

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
            rl_push_redis_reply(L, replies[i]);
            lua_rawseti(L, -2, (int)i + 1);
        }
        return 1;
    }
    if (op->shape == CONFIRMED)
        last = replies[0]; /* a refusal is the only one */
    if (last->type == RL_RESP_ERROR) {
        lua_pushnil(L);
        rl_push_redis_reply(L, last);
        return 2;
    }
    if (op->shape == CONFIRMED)
        lua_pushboolean(L, true);
    else
        rl_push_redis_reply(L, last);
    return 1;
}

static void on_answer(void *arg, rl_resp **replies, const rl_err *err)
{
    struct op *op = arg;
    lua_State *L = rl_task_stack(op->task);

    rl_task_wake(op->task, err ? rl_push_redis_failure(L, err) : push_answer(L, op, replies));
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
    int n = whole ? snprintf(room, NUMBER_SIZE, "%lld", (long long)d)
                  : snprintf(room, NUMBER_SIZE, "%.17g", d);
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

/* Can anything be asked now? */
static int check_wire(const rl_wire *w, rl_err *err)
{
    if (!w->redis)
        return rl_err_set(err, RL_EREDIS_DOWN, "%s (the command was not sent)", w->why.msg);
    if (rl_redis_is_full(w->redis))
        return rl_err_set(err, RL_EREDIS_DOWN,
                          "Redis: the server takes too little of what it is told (the command was "
                          "not sent)");
    return 0;
}

/* Free the draft, and park until there are as many replies. */
static int ask(lua_State *L, rl_wire *w, rl_buf *draft, rl_redis_request request, enum shape shape)
{
    rl_task *t = rl_task_current(L);
    rl_err err;

    if (check_wire(w, &err) < 0) {
        rl_vm_free_draft(draft);
        return rl_push_redis_failure(L, &err);
    }
    struct op *op = rl_malloc(sizeof(*op));
    *op = (struct op){.task = t, .replies = request.replies, .shape = shape};
    request.bytes = rl_buf_str(draft);
    op->command = rl_redis_ask(w->redis, &request, on_answer, op);
    rl_vm_free_draft(draft);
    return rl_task_park(L, t, cancel_op, op);
}

/* The command that the arguments are from `first` on. */
static rl_buf *draft_command(lua_State *L, int first)
{
    int n = lua_gettop(L) - first + 1;
    char(*rooms)[NUMBER_SIZE];
    luaL_argcheck(L, n > 0, first, "a command expected");

    rl_str *args = new_arguments(L, (size_t)n, &rooms);
    for (int i = 0; i < n; i++)
        if (!to_argument(L, first + i, rooms[i], &args[i]))
            luaL_argerror(L, first + i, "a string or a number expected");
    rl_buf *draft = rl_vm_draft(rl_vm_of(L));
    rl_resp_add_command(draft, args, (size_t)n);
    return draft;
}

static int run(lua_State *L, bool blocks)
{
    rl_wire *w = rl_check_wire(L, 1);
    rl_redis_request request = {.replies = 1, .patience = check_patience(L, 2), .blocks = blocks};

    rl_task_current(L);
    return ask(L, w, draft_command(L, 3), request, ONE);
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
    rl_wire *w = rl_check_wire(L, 1);
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
    rl_wire *w = rl_check_wire(L, 1);
    rl_redis_request request = {.patience = check_patience(L, 2), .subscribes = true};
    const char *verb = verbs[luaL_checkoption(L, 3, NULL, verbs)];
    luaL_checktype(L, 4, LUA_TTABLE);
    luaL_argcheck(L, lua_objlen(L, 4) > 0, 4, "a name expected");
    rl_task_current(L);

    rl_buf *draft = rl_vm_draft(rl_vm_of(L));
    request.replies = (unsigned)add_listed(L, draft, 4, verb);
    return ask(L, w, draft, request, CONFIRMED);
}

/* Posting: nobody waits for the reply, and only what is out of the ordinary is kept. */

struct post {
    rl_wire *wire;
    bool counts; /* 0 is out of the ordinary, too */
    size_t n;
    char note[];
};

struct outcome {
    rl_list link;
    rl_err err; /* without a code: the reply was 0 */
    size_t n;
    char note[];
};

/* note, error or nil. The outcome is freed. */
static int push_outcome(lua_State *L, struct outcome *o)
{
    lua_pushlstring(L, o->note, o->n);
    if (o->err.code)
        push_err(L, &o->err);
    else
        lua_pushnil(L);
    rl_free(o);
    return 2;
}

static struct outcome *next_outcome(rl_wire *w)
{
    rl_list *it = rl_list_pop(&w->outcomes);

    return it ? RL_LIST_ENTRY(it, struct outcome, link) : NULL;
}

static void keep_outcome(rl_wire *w, const struct post *p, const rl_err *err)
{
    struct outcome *o = rl_malloc(sizeof(*o) + p->n);
    rl_task *t = w->auditor;

    o->err = *err;
    o->n = p->n;
    memcpy(o->note, p->note, p->n);
    rl_list_init(&o->link);
    w->auditor = NULL;
    if (t)
        rl_task_wake(t, push_outcome(rl_task_stack(t), o));
    else
        rl_list_push(&w->outcomes, &o->link);
}

static void on_posted(void *arg, rl_resp **replies, const rl_err *err)
{
    struct post *p = arg;
    const rl_resp *reply = replies ? replies[0] : NULL;
    rl_err nobody = {0}, refusal;

    p->wire->unconfirmed--;
    if (err) {
        keep_outcome(p->wire, p, err);
    } else if (reply->type == RL_RESP_ERROR) {
        rl_err_set(&refusal, RL_EREDIS, "%s", reply->text.p);
        keep_outcome(p->wire, p, &refusal);
    } else if (p->counts && reply->type == RL_RESP_INT && reply->integer == 0) {
        keep_outcome(p->wire, p, &nobody);
    }
    if (replies)
        rl_resp_free(replies[0]);
    rl_free(p);
}

/* post(wire, seconds, note or nil, command, …) -> true | false: too many are unconfirmed
 * | nil, error */
static int l_post(lua_State *L)
{
    rl_wire *w = rl_check_wire(L, 1);
    rl_redis_request request = {.replies = 1, .patience = check_patience(L, 2)};
    rl_str note = {"", 0};
    rl_err err;
    if (!lua_isnil(L, 3))
        note.p = luaL_checklstring(L, 3, &note.n);

    if (w->unconfirmed >= MAX_UNCONFIRMED) {
        lua_pushboolean(L, false);
        return 1;
    }
    if (check_wire(w, &err) < 0)
        return rl_push_redis_failure(L, &err);
    rl_buf *draft = draft_command(L, 4);
    struct post *p = rl_malloc(sizeof(*p) + note.n);
    *p = (struct post){.wire = w, .counts = !lua_isnil(L, 3), .n = note.n};
    memcpy(p->note, note.p, note.n);
    w->unconfirmed++;
    request.bytes = rl_buf_str(draft);
    rl_redis_ask(w->redis, &request, on_posted, p);
    rl_vm_free_draft(draft);
    lua_pushboolean(L, true);
    return 1;
}

void rl_redis_end_outcomes(rl_wire *w)
{
    rl_task *t = w->auditor;

    w->auditor = NULL;
    if (t)
        rl_task_wake(t, 0);
}

void rl_redis_drop_outcomes(rl_wire *w)
{
    struct outcome *o;

    while ((o = next_outcome(w)))
        rl_free(o);
}

static void cancel_outcome(void *op)
{
    ((rl_wire *)op)->auditor = NULL;
}

/* outcome(wire) -> note, error or nil | nothing: the wire is over */
static int l_outcome(lua_State *L)
{
    rl_wire *w = rl_check_wire(L, 1);
    rl_task *t = rl_task_current(L);
    luaL_argcheck(L, !w->auditor, 1, "somebody waits for its outcomes already");

    struct outcome *o = next_outcome(w);
    if (o)
        return push_outcome(L, o);
    if (!w->redis)
        return 0;
    w->auditor = t;
    return rl_task_park(L, t, cancel_outcome, w);
}

static const luaL_Reg functions[] = {
    {"call", l_call}, /* yields */
    {"post", l_post},
    {"outcome", l_outcome},           /* yields */
    {"block", l_block},               /* yields */
    {"pipeline", l_pipeline},         /* yields */
    {"subscription", l_subscription}, /* yields */
    {NULL, NULL},
};

void rl_open_redis_command(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
