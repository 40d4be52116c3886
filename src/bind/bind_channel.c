/* Background channels: their lines, and the two waits of whoever works one off. */
#include "bind/bind.h"

#include "core/channels.h"

static rl_named *check_named(lua_State *L, int arg)
{
    rl_named *n = rl_named_find(rl_worker_of(L), rl_check_str(L, arg));

    luaL_argcheck(L, n, arg, "an open channel expected");
    return n;
}

/* open(name, capacity, drop_oldest): again, it only changes these. */
static int l_open(lua_State *L)
{
    rl_str name = rl_check_str(L, 1);
    luaL_argcheck(L, rl_layer_valid_group(name), 1, "a name without ! expected");
    lua_Integer capacity = luaL_checkinteger(L, 2);
    luaL_argcheck(L, capacity >= 1, 2, "a capacity of 1 or more expected");

    rl_named_open(rl_worker_of(L), name, (unsigned)capacity, lua_toboolean(L, 3));
    return 0;
}

/* close(name) */
static int l_close(lua_State *L)
{
    rl_named *n = rl_named_find(rl_worker_of(L), rl_check_str(L, 1));

    if (n)
        rl_named_close(n);
    return 0;
}

/* put(name, body, attempt, first): a message that was tried, to be tried again; it always fits. */
static int l_put(lua_State *L)
{
    rl_named *n = check_named(L, 1);
    rl_str body = rl_check_str(L, 2);

    rl_line_put(n->line, body, (unsigned)luaL_checkinteger(L, 3), true);
    return 0;
}

/* waiting(name) -> messages in line */
static int l_waiting(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)rl_line_count(check_named(L, 1)->line));
    return 1;
}

/* Taking */

struct taking {
    rl_task *task;
    rl_taker *taker;
};

static void on_called(void *arg)
{
    struct taking *taking = arg;

    lua_pushboolean(rl_task_stack(taking->task), true);
    rl_task_wake(taking->task, 1);
    rl_free(taking);
}

static void cancel_taking(void *op)
{
    struct taking *taking = op;

    rl_taker_forget(taking->taker);
    rl_free(taking);
}

/* take(name) -> body, attempt | true: it has waited, and is to be called again | nil, error */
static int l_take(lua_State *L)
{
    rl_named *n = check_named(L, 1);
    rl_task *t = rl_task_current(L);
    struct taking *taking = rl_malloc(sizeof(*taking));
    rl_job *job = rl_line_take(n->line, t->vm->loop, on_called, taking, &taking->taker);

    if (!job) {
        taking->task = t;
        return rl_task_park(L, t, cancel_taking, taking);
    }
    rl_free(taking);
    rl_vm_enter(t->vm);
    lua_pushlstring(L, job->body, job->n);
    lua_pushinteger(L, (lua_Integer)job->attempt);
    rl_vm_leave(t->vm);
    rl_free(job);
    return 2;
}

/* Doing */

struct doing {
    rl_outcome outcome;
    rl_task *task; /* that waits; NULL: not any more */
};

static void on_done(rl_outcome *outcome, bool handled)
{
    struct doing *doing = RL_CONTAINER_OF(outcome, struct doing, outcome);

    if (doing->task) {
        lua_pushboolean(rl_task_stack(doing->task), handled);
        rl_task_wake(doing->task, 1);
    }
    rl_free(doing);
}

static void cancel_doing(void *op)
{
    struct doing *doing = op;

    doing->task = NULL;
}

/* work(id, number) -> did its handler come to an end? | nil: it leaves, or is gone; or nil, error.
 * An event "channel.job" with that number for a consumer in the background. */
static int l_work(lua_State *L)
{
    double id = luaL_checknumber(L, 1), number = luaL_checknumber(L, 2);
    rl_task *t = rl_task_current(L);
    rl_consumer *c = rl_roster_find(&rl_worker_of(L)->roster, id);
    const rl_field field = {.name = "number", .number = number};

    if (!c || c->state == RL_CONSUMER_LEAVING)
        return 0;
    struct doing *doing = rl_calloc(1, sizeof(*doing));
    doing->outcome.done = on_done;
    doing->task = t;
    rl_background_work(c, "channel.job", &field, 1, &doing->outcome);
    return rl_task_park(L, t, cancel_doing, doing);
}

static const luaL_Reg functions[] = {
    {"open", l_open},
    {"close", l_close},
    {"put", l_put},
    {"waiting", l_waiting},
    {"take", l_take}, /* yields */
    {"work", l_work}, /* yields */
    {NULL, NULL},
};

int rl_open_channel(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
