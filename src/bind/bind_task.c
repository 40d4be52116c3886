/* Tasks: spawn, join, cancel, sleep. What bounds and joins them is in bind_task_scope.c.
 *
 * A handle outlives its task: it keeps the results, or the error, until somebody joins. Its
 * userdata is anchored while the task runs, so that dropping the handle drops nothing else. */
#include "bind/bind.h"

#include "base/log.h"
#include "core/witness.h"

#include <stdio.h>
#include <string.h>

#define TASK "rille.Task"

enum {
    MAX_RESULTS = 200,     /* that a handle keeps; it drops the others */
    TELL_EVERY_MS = 10000, /* and no oftener */
};

struct handle {
    rl_task *task;   /* NULL once ended */
    rl_task *joiner; /* parked until then */
    int anchor;      /* registry reference to this userdata while the task runs */
    bool failed;
    bool tied;      /* to a consumer, without its having been said */
    bool watched;   /* whoever waits for it (a scope) knows of its errors */
    char where[80]; /* it was spawned: "app.lua:12"; "": by the library */
};

static struct handle *check_handle(lua_State *L, int arg)
{
    return luaL_checkudata(L, arg, TASK);
}

/* [results…] of an ended handle: true and its results, or nil and the error. */
static int push_results(lua_State *L, struct handle *h, int index)
{
    lua_getfenv(L, index);
    int at = lua_gettop(L);

    if (h->failed) {
        lua_pushnil(L);
        lua_rawgeti(L, at, 1);
        return 2;
    }
    lua_getfield(L, at, "n");
    int n = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    luaL_checkstack(L, n + 1, "results");
    lua_pushboolean(L, true);
    for (int i = 1; i <= n; i++)
        lua_rawgeti(L, at, i);
    return n + 1;
}

/* The log is told, or the test that holds the other end of its consumer's connection. */
static void tell_failure(rl_task *t, const struct handle *h, rl_buf *text)
{
    rl_worker *w = RL_CONTAINER_OF(t->vm, rl_worker, vm);
    rl_witness *witness = rl_witness_of(w, t->owner);
    rl_buf said = {0};

    w->loop.counters.tasks_failed++;
    rl_buf_printf(&said, "a task%s%s failed: %s", *h->where ? " spawned at " : "", h->where,
                  rl_buf_cstr(text));
    if (witness)
        witness->hear(witness, NULL, rl_buf_str(&said));
    else
        rl_error("%s", rl_buf_cstr(&said));
    rl_buf_fini(&said);
}

/* It ended with its consumer, which its script may not have meant. */
static void tell_end(rl_task *t, const struct handle *h)
{
    static _Thread_local uint64_t told_at;
    uint64_t now = rl_loop_now(t->vm->loop);

    if (told_at && now < told_at + TELL_EVERY_MS)
        return;
    told_at = now;
    rl_info("a task spawned at %s ended with its consumer (rille.spawn(fn, { detached = true }) "
            "outlives it)",
            h->where);
}

static void on_spawned_ended(rl_task *t, void *arg, lua_State *co, bool failed)
{
    struct handle *h = arg;
    int n = failed ? 1 : lua_gettop(co);
    if (n > MAX_RESULTS)
        n = MAX_RESULTS;

    h->task = NULL;
    h->failed = failed;
    rl_buf text = {0};
    if (failed)
        rl_vm_describe_failure(co, &text);

    /* Keep what it left in the handle's environment. */
    lua_State *L = t->vm->L;
    lua_rawgeti(L, LUA_REGISTRYINDEX, h->anchor);
    lua_createtable(L, n, 1);
    lua_pushinteger(L, n);
    lua_setfield(L, -2, "n");
    for (int i = n; i >= 1; i--) {
        if (!failed)
            lua_pushvalue(co, i);
        lua_xmove(co, L, 1);
        lua_rawseti(L, -2, i);
    }
    lua_setfenv(L, -2);

    if (h->joiner) {
        rl_task *joiner = h->joiner;
        h->joiner = NULL;
        int before = lua_gettop(L);
        int nresults = push_results(L, h, before);
        lua_xmove(L, rl_task_stack(joiner), nresults);
        lua_settop(L, before);
        rl_task_wake(joiner, nresults);
    } else if (failed && !t->cancelled && !h->watched) {
        tell_failure(t, h, &text);
    } else if (failed && h->tied) {
        tell_end(t, h);
    }
    lua_pop(L, 1);
    luaL_unref(L, LUA_REGISTRYINDEX, h->anchor);
    rl_buf_fini(&text);
}

static bool owns_too_many(const rl_consumer *c)
{
    uint64_t n = 0, most = c->worker->limits.max_tasks;

    for (const rl_list *it = c->tasks.next; it != &c->tasks && n < most; it = it->next)
        n++;
    return n >= most;
}

static int refuse_task(lua_State *L, rl_worker *w)
{
    w->loop.counters.tasks_refused++;
    return luaL_error(L, "spawn: this consumer has %d tasks under way (max_tasks)",
                      (int)w->limits.max_tasks);
}

/* The innermost line of a script's own. */
static void find_place(lua_State *L, char *out, size_t size)
{
    lua_Debug ar;

    for (int level = 1; level < 12 && lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline <= 0 || strncmp(ar.source, "@rille/", 7) == 0)
            continue;
        snprintf(out, size, "%s:%d", ar.short_src, ar.currentline);
        return;
    }
}

int rl_bind_spawn(lua_State *L, rl_list *owner, bool watched)
{
    rl_worker *w = rl_worker_of(L);
    struct handle *h = lua_newuserdata(L, sizeof(*h));

    *h = (struct handle){.watched = watched};
    find_place(L, h->where, sizeof(h->where));
    luaL_getmetatable(L, TASK);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    h->anchor = rl_vm_ref(L);

    h->task = rl_task_new(&w->vm, on_spawned_ended, h);
    rl_list_push(owner, &h->task->owned);
    lua_pushvalue(L, 1);
    rl_vm_enter(&w->vm);
    lua_xmove(L, rl_task_stack(h->task), 1);
    rl_vm_leave(&w->vm);
    rl_task_queue(h->task, 0);
    return 1;
}

/* spawn_detached(fn) -> handle: it belongs to the worker, and speaks for nobody. */
static int l_spawn_detached(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);

    rl_bind_spawn(L, &rl_worker_of(L)->tasks, false);
    ((struct handle *)lua_touserdata(L, -1))->task->owner = 0;
    return 1;
}

/* spawn_here(fn) -> handle: with the consumer that the running task is of, if it is of one. */
static int l_spawn_here(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    rl_worker *w = rl_worker_of(L);
    const rl_task *t = rl_task_running(L);
    rl_consumer *c = t ? rl_roster_find(&w->roster, t->owner) : NULL;

    if (c && owns_too_many(c))
        return refuse_task(L, w);
    rl_bind_spawn(L, c ? &c->tasks : &w->tasks, false);
    ((struct handle *)lua_touserdata(L, -1))->tied = c != NULL;
    return 1;
}

/* spawn(fn, id or nil) -> handle. With an id, the task dies with that consumer. */
static int l_spawn(lua_State *L)
{
    rl_worker *w = rl_worker_of(L);
    luaL_checktype(L, 1, LUA_TFUNCTION);
    double id = luaL_optnumber(L, 2, 0);
    rl_consumer *c = rl_roster_find(&w->roster, id);
    if (id && !c) {
        rl_err err;
        rl_err_set(&err, RL_ECLOSED, "the connection is closed");
        return rl_failure(L, &err);
    }

    if (c && owns_too_many(c))
        return refuse_task(L, w);

    return rl_bind_spawn(L, c ? &c->tasks : &w->tasks, false);
}

/* serve(fn) -> handle: for the library. It belongs to no consumer, and goes on until the worker has
 * nothing more to say. */
static int l_serve(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);

    rl_bind_spawn(L, &rl_worker_of(L)->services, false);
    ((struct handle *)lua_touserdata(L, -1))->task->owner = 0;
    return 1;
}

static void cancel_join(void *op)
{
    struct handle *h = op;

    h->joiner = NULL;
}

/* join(handle) -> true, results… | nil, error */
static int l_join(lua_State *L)
{
    struct handle *h = check_handle(L, 1);
    rl_task *t = rl_task_current(L);
    luaL_argcheck(L, !h->joiner, 1, "somebody waits for this task already");
    luaL_argcheck(L, h->task != t, 1, "a task cannot wait for itself");

    if (!h->task)
        return push_results(L, h, 1);
    h->joiner = t;
    return rl_task_park(L, t, cancel_join, h);
}

/* cancel(handle): its next wait raises rille.Cancelled. Safe when it has ended. */
static int l_cancel(lua_State *L)
{
    struct handle *h = check_handle(L, 1);

    h->tied = false;
    if (h->task)
        rl_task_cancel(h->task);
    return 0;
}

/* done(handle) -> boolean */
static int l_done(lua_State *L)
{
    lua_pushboolean(L, check_handle(L, 1)->task == NULL);
    return 1;
}

/* owner() -> the consumer that the running task is for, by its id | nil */
static int l_owner(lua_State *L)
{
    const rl_task *t = rl_task_running(L);

    if (!t || !t->owner)
        return 0;
    lua_pushnumber(L, t->owner);
    return 1;
}

/* may_wait(): raises what a wait would raise here, and does nothing else. */
static int l_may_wait(lua_State *L)
{
    rl_task_current(L);
    return 0;
}

/* own(make) -> the running task's own table, which lives as long as it does. Without one nil, or a
 * new one if asked to make it. */
static int l_own(lua_State *L)
{
    rl_task *t = rl_task_running(L);

    if (!t || (t->local == LUA_NOREF && !lua_toboolean(L, 1)))
        return 0;
    if (t->local == LUA_NOREF) {
        lua_newtable(L);
        t->local = rl_vm_ref(L);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, t->local);
    return 1;
}

/* places() -> where each task was spawned that has not ended and is not a consumer's: "app.lua:12";
 * the library's own are left out */
static int l_places(lua_State *L)
{
    rl_worker *w = rl_worker_of(L);

    lua_newtable(L);
    RL_LIST_EACH (it, &w->tasks) {
        rl_task *t = RL_LIST_ENTRY(it, rl_task, owned);
        const struct handle *h = t->arg;
        if (t->ended != on_spawned_ended || !*h->where)
            continue;
        lua_pushstring(L, h->where);
        lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
    }
    return 1;
}

/* Sleeping */

struct sleep {
    uv_timer_t timer;
    rl_task *task;
};

static void free_sleep(uv_handle_t *h)
{
    rl_free(RL_CONTAINER_OF(h, struct sleep, timer));
}

static void cancel_sleep(void *op)
{
    struct sleep *s = op;

    uv_close((uv_handle_t *)&s->timer, free_sleep);
}

static void on_slept(uv_timer_t *timer)
{
    struct sleep *s = RL_CONTAINER_OF(timer, struct sleep, timer);

    lua_pushboolean(rl_task_stack(s->task), true);
    rl_task_wake(s->task, 1);
    cancel_sleep(s);
}

/* sleep(seconds) -> true | nil, error */
static int l_sleep(lua_State *L)
{
    double seconds = rl_check_seconds(L, 1);
    rl_task *t = rl_task_current(L);

    struct sleep *s = rl_malloc(sizeof(*s));
    s->task = t;
    uv_timer_init(&t->vm->loop->uv, &s->timer);
    uv_update_time(&t->vm->loop->uv);
    uv_timer_start(&s->timer, on_slept, (uint64_t)(seconds * 1000 + 0.5), 0);
    return rl_task_park(L, t, cancel_sleep, s);
}

static const luaL_Reg functions[] = {
    {"spawn", l_spawn},
    {"spawn_detached", l_spawn_detached},
    {"spawn_here", l_spawn_here},
    {"serve", l_serve},
    {"join", l_join}, /* yields */
    {"cancel", l_cancel},
    {"done", l_done},
    {"may_wait", l_may_wait},
    {"owner", l_owner},
    {"own", l_own},
    {"places", l_places},
    {"sleep", l_sleep}, /* yields */
    {NULL, NULL},
};

int rl_open_task(lua_State *L)
{
    luaL_newmetatable(L, TASK);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    rl_open_task_scope(L);
    luaL_getmetatable(L, TASK);
    lua_setfield(L, -2, "handle"); /* lua/rille/task.lua puts the methods in */
    return 1;
}
