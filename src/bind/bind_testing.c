/* What tests need of the worker beside its connections' other ends (bind_testing_peer.c): an end of
 * those that do not end, a way to listen, what is left, the clock, memory that is refused. */
#include "bind/bind.h"

#include "core/failure.h"
#include "core/inbox.h"
#include "io/bind.h"
#include "io/watch.h"
#include "vm/watchdog.h"

#include <netinet/in.h>

/* Endless loops */

/* limit_cpu(seconds): so much may a script take without waiting; 0: whatever it likes */
static int l_limit_cpu(lua_State *L)
{
    rl_watchdog_limit(rl_vm_of(L), rl_check_seconds(L, 1));
    return 0;
}

/* begin_slice() -> boolean: what this script has taken so far counts no more; true: it was being
 * interrupted for that, and is not any longer */
static int l_begin_slice(lua_State *L)
{
    lua_pushboolean(L, rl_vm_renew_slice(rl_vm_of(L)));
    return 1;
}

/* Listening */

/* listen() -> port | nil, error: on 127.0.0.1, whichever is free, for as long as the worker lives
 * or until unlisten() */
static int l_listen(lua_State *L)
{
    static const char *const addresses[] = {"127.0.0.1:0"};
    rl_bindings bindings = {0};
    struct sockaddr_in at;
    socklen_t n = sizeof(at);
    rl_err err;

    int rc = rl_bind_all(&bindings, addresses, 1, &err);
    if (rc < 0)
        return rl_failure(L, &err);
    const rl_bound *bound = &bindings.list[0].bound;
    rc = rl_bound_listen(bound, &err);
    if (rc == 0)
        getsockname(bound->fd, (struct sockaddr *)&at, &n);
    if (rc == 0)
        rc = rl_worker_listen(rl_worker_of(L), bound, &err);
    rl_bindings_fini(&bindings, rc < 0);
    if (rc < 0)
        return rl_failure(L, &err);
    lua_pushinteger(L, ntohs(at.sin_port));
    return 1;
}

/* unlisten(): no listener of the worker accepts any more */
static int l_unlisten(lua_State *L)
{
    rl_worker *w = rl_worker_of(L);

    while (w->nlisteners)
        rl_listener_close(w->listeners[--w->nlisteners]);
    return 0;
}

/* What is left */

/* consumers() -> "Chat on /chat/<room>", of each that is alive, by its number */
static int l_consumers(lua_State *L)
{
    rl_worker *w = rl_worker_of(L);
    uint32_t at = 0;
    rl_consumer *c;

    lua_newtable(L);
    while ((c = rl_roster_next(&w->roster, &at))) {
        rl_buf *who = rl_vm_draft(&w->vm);
        rl_failure_name(c, who);
        lua_pushnumber(L, c->id);
        lua_pushlstring(L, rl_buf_str(who).p, who->len);
        lua_rawset(L, -3);
        rl_vm_free_draft(who);
    }
    return 1;
}

static void add_place(void *arg, const char *where)
{
    lua_State *L = arg;

    lua_pushstring(L, where);
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
}

/* leases() -> where each connection of a database was pinned: "app.lua:12" */
static int l_leases(lua_State *L)
{
    rl_worker *w = rl_worker_of(L);

    lua_newtable(L);
    for (unsigned i = 0; i < w->ndbs; i++)
        if (w->dbs[i])
            rl_db_each_lease(w->dbs[i], add_place, L);
    return 1;
}

/* cancel(): have every consumer leave, and every task end that is not a consumer's, but the running
 * one, whose channels end */
static int l_cancel(lua_State *L)
{
    rl_worker *w = rl_worker_of(L);
    uint32_t at = 0;
    rl_consumer *c;

    while ((c = rl_roster_next(&w->roster, &at)))
        rl_consumer_abort(c);
    RL_LIST_EACH (it, &w->tasks) {
        rl_task *t = RL_LIST_ENTRY(it, rl_task, owned);
        if (t != rl_task_running(L))
            rl_task_cancel(t);
    }
    rl_inbox_end_all(rl_task_running(L));
    return 0;
}

/* advance(seconds): so much time passes at once */
static int l_advance(lua_State *L)
{
    double seconds = rl_check_seconds(L, 1);

    rl_loop_advance(&rl_worker_of(L)->loop, (uint64_t)(seconds * 1000 + 0.5));
    return 0;
}

/* next_timer() -> seconds until one is due | nil: there is none */
static int l_next_timer(lua_State *L)
{
    uint64_t next = rl_loop_next_timer(&rl_worker_of(L)->loop);

    if (next == UINT64_MAX)
        return 0;
    lua_pushnumber(L, (double)next / 1000);
    return 1;
}

/* refuse(after, n) -> how often scripts of the worker were refused memory so far: of what they ask
 * for from now, `after` blocks are granted, and the n behind them are not */
static int l_refuse(lua_State *L)
{
    rl_vm *vm = rl_vm_of(L);
    double after = luaL_checknumber(L, 1), n = luaL_checknumber(L, 2);

    luaL_argcheck(L, after >= 0 && after <= 1e9, 1, "0 to 1e9 expected");
    luaL_argcheck(L, n >= 0 && n <= 1e9, 2, "0 to 1e9 expected");
    rl_need_inject(&vm->need, (uint64_t)after, (uint64_t)n);
    lua_pushnumber(L, (double)vm->loop->counters.memory_refused);
    return 1;
}

/* Watching */

struct watching {
    rl_watch *watch;
    rl_task *task;
};

static void end_watching(void *op)
{
    struct watching *w = op;

    rl_watch_close(w->watch);
    rl_free(w);
}

static void on_changed(void *arg)
{
    struct watching *w = arg;

    lua_pushboolean(rl_task_stack(w->task), true);
    rl_task_wake(w->task, 1);
    end_watching(w);
}

/* changed(paths) -> true: waits until one of the files is not what it was */
static int l_changed(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    for (int i = 1; i <= (int)lua_objlen(L, 1); i++) {
        lua_rawgeti(L, 1, i);
        luaL_checkstring(L, -1);
        lua_pop(L, 1);
    }
    rl_task *t = rl_task_current(L);

    struct watching *w = rl_malloc(sizeof(*w));
    w->task = t;
    w->watch = rl_watch_open(t->vm->loop, on_changed, w);
    for (int i = 1; i <= (int)lua_objlen(L, 1); i++) {
        lua_rawgeti(L, 1, i);
        rl_watch_add(w->watch, lua_tostring(L, -1), rl_watch_sum(lua_tostring(L, -1), -1));
        lua_pop(L, 1);
    }
    return rl_task_park(L, t, end_watching, w);
}

/* clang-format off */
static const luaL_Reg functions[] = {
    {"limit_cpu", l_limit_cpu},
    {"begin_slice", l_begin_slice},
    {"listen", l_listen},
    {"unlisten", l_unlisten},
    {"consumers", l_consumers},
    {"leases", l_leases},
    {"cancel", l_cancel},
    {"changed", l_changed}, /* yields */
    {"advance", l_advance},
    {"next_timer", l_next_timer},
    {"refuse", l_refuse},
    {NULL, NULL},
};
/* clang-format on */

int rl_open_testing(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    rl_open_test_peers(L);
    return 1;
}
