/* COPY: one of a kind per pin, tied to the task by a guard of its own.
 *
 * Each function that waits gives
 *
 *   rows, or true    rows that came out; or there is room for rows to go in
 *   false, count     it is over, and so many rows went
 *   nil, error       it failed
 *
 * In between, the task runs the script's own function, which may wait for anything else; the COPY
 * may end meanwhile, and its end is kept until it is asked for. */
#include "bind/bind_db.h"

struct copy {
    rl_guard guard; /* on the task */
    rl_db *db;
    rl_query *query; /* NULL once it is over */
    rl_task *task;   /* waits here; NULL: it runs, or waits for something else */
    rl_err err;      /* of the end, if code is set */
    uint64_t rows;
};

static void free_copy(struct copy *c)
{
    rl_task_unguard(&c->guard);
    if (c->query)
        rl_query_cancel(c->query);
    rl_free(c);
}

static void release_copy(rl_guard *guard, rl_task *t)
{
    free_copy(RL_CONTAINER_OF(guard, struct copy, guard));
}

static struct copy *find_copy(rl_task *t, const rl_db *db)
{
    for (rl_list *it = t->guards.next; it != &t->guards; it = it->next) {
        rl_guard *guard = RL_LIST_ENTRY(it, rl_guard, link);
        struct copy *c = RL_CONTAINER_OF(guard, struct copy, guard);
        if (guard->release == release_copy && c->db == db)
            return c;
    }
    return NULL;
}

/* How it ended, on L; frees it. */
static int push_end(lua_State *L, struct copy *c)
{
    rl_err err = c->err;

    lua_pushboolean(L, false);
    lua_pushnumber(L, (double)c->rows);
    free_copy(c);
    return err.code ? rl_failure(L, &err) : 2;
}

static void on_copied(void *arg, rl_str rows)
{
    struct copy *c = arg;
    rl_task *t = c->task;

    c->task = NULL;
    if (rows.n)
        lua_pushlstring(rl_task_stack(t), rows.p, rows.n);
    else
        lua_pushboolean(rl_task_stack(t), true);
    rl_task_wake(t, 1);
}

static void on_over(void *arg, rl_result *result, const rl_err *err)
{
    struct copy *c = arg;
    rl_task *t = c->task;

    c->query = NULL;
    if (err)
        c->err = *err;
    else
        c->rows = rl_result_affected(result);
    rl_result_free(result);
    if (!t)
        return;
    c->task = NULL;
    rl_task_wake(t, push_end(rl_task_stack(t), c));
}

static void cancel_wait(void *op)
{
    struct copy *c = op;

    rl_query_cancel(c->query);
    c->query = NULL;
    c->task = NULL;
    rl_err_set(&c->err, RL_ECANCELLED, "the copy was cancelled");
}

static int wait(lua_State *L, rl_task *t, struct copy *c)
{
    c->task = t;
    return rl_task_park(L, t, cancel_wait, c);
}

/* copy_open(handle, sql, "out" or "in"): begin one on the task's pinned connection. */
static int l_open(lua_State *L)
{
    static const char *const ways[] = {"out", "in", NULL};
    static const rl_copy_fns fns = {on_copied, on_over};
    rl_db *db = rl_db_check(L, 1);
    rl_statement st = {.sql = rl_check_str(L, 2)};
    st.copy = luaL_checkoption(L, 3, NULL, ways) ? RL_COPY_IN : RL_COPY_OUT;
    rl_task *t = rl_task_current(L);
    rl_lease *lease = rl_pin_lease(rl_pin_find(t, db));
    if (!lease)
        return luaL_error(L, "COPY needs a pinned connection");
    if (find_copy(t, db))
        return luaL_error(L, "the task is in the middle of another COPY on this database");

    struct copy *c = rl_calloc(1, sizeof(*c));
    c->db = db;
    rl_task_guard(t, &c->guard, release_copy);
    c->query = rl_db_copy(db, lease, &st, &fns, c);
    return wait(L, t, c);
}

/* The task's COPY, and the task in *t; raises without one. */
static struct copy *check_copy(lua_State *L, rl_task **t)
{
    rl_db *db = rl_db_check(L, 1);
    *t = rl_task_current(L);
    struct copy *c = find_copy(*t, db);

    if (!c)
        luaL_error(L, "no COPY is under way");
    return c;
}

/* copy_next(handle): the rows that come next. */
static int l_next(lua_State *L)
{
    rl_task *t;
    struct copy *c = check_copy(L, &t);

    if (!c->query)
        return push_end(L, c);
    rl_copy_more(c->query);
    return wait(L, t, c);
}

/* copy_put(handle, rows): in they go; waits until there is room for more. */
static int l_put(lua_State *L)
{
    rl_str rows = rl_check_str(L, 2);
    rl_task *t;
    struct copy *c = check_copy(L, &t);

    if (!c->query)
        return push_end(L, c);
    rl_copy_write(c->query, rows);
    return wait(L, t, c);
}

/* copy_end(handle): there are no more to go in; waits for the end. */
static int l_end(lua_State *L)
{
    rl_task *t;
    struct copy *c = check_copy(L, &t);

    if (!c->query)
        return push_end(L, c);
    rl_copy_end(c->query);
    return wait(L, t, c);
}

/* copy_abort(handle): give it up, if there is one. The connection is drained behind our back. */
static int l_abort(lua_State *L)
{
    rl_db *db = rl_db_check(L, 1);
    rl_task *t = rl_task_running(L);
    struct copy *c = t ? find_copy(t, db) : NULL;

    if (c)
        free_copy(c);
    return 0;
}

static const luaL_Reg functions[] = {
    {"copy_open", l_open}, /* yields */
    {"copy_next", l_next}, /* yields */
    {"copy_put", l_put},   /* yields */
    {"copy_end", l_end},   /* yields */
    {"copy_abort", l_abort}, {NULL, NULL},
};

void rl_db_open_copy(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
