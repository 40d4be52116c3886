/* Databases: handles and statements. A handle is the number of a database in worker.dbs. */
#include "bind/bind_db.h"

#include "core/notify.h"
#include "db/sql.h"

#define HANDLE "rille.Database"

enum { MAX_PARAMS = 65535 };

/* Those that run for every statement have the handles' metatable as their upvalue: its name would
 * be hashed each time. */
static unsigned *check_handle(lua_State *L, int arg)
{
    if (lua_getmetatable(L, arg)) {
        bool ours = lua_rawequal(L, -1, lua_upvalueindex(1));
        lua_pop(L, 1);
        if (ours)
            return lua_touserdata(L, arg);
    }
    return luaL_checkudata(L, arg, HANDLE);
}

static unsigned *check_slot(lua_State *L, int arg)
{
    unsigned *slot = check_handle(L, arg);
    const rl_worker *w = rl_worker_of(L);

    luaL_argcheck(L, *slot < w->ndbs && w->dbs[*slot], arg, "the database is closed");
    return slot;
}

rl_db *rl_db_check_present(lua_State *L, int arg)
{
    return rl_worker_of(L)->dbs[*check_slot(L, arg)];
}

/* A pin stays where it is, an event where it began. */
static rl_db *of_task(const rl_worker *w, unsigned slot, rl_task *t)
{
    RL_LIST_EACH (it, &w->retired.all) {
        const rl_retired_db *r = RL_LIST_ENTRY(it, rl_retired_db, link);
        if (r->slot == slot && rl_pin_find(t, r->db))
            return r->db;
    }
    return rl_retired_of(w, slot, t);
}

rl_db *rl_db_check(lua_State *L, int arg)
{
    unsigned slot = *check_slot(L, arg);
    rl_worker *w = rl_worker_of(L);
    rl_db *before = NULL;

    if (RL_UNLIKELY(!rl_list_empty(&w->retired.all)) && w->vm.running)
        before = of_task(w, slot, w->vm.running);
    return before ? before : w->dbs[slot];
}

static bool bool_field(lua_State *L, int index, const char *name, bool otherwise)
{
    lua_getfield(L, index, name);
    bool value = lua_isnil(L, -1) ? otherwise : lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

static double number_field(lua_State *L, int index, const char *name)
{
    lua_getfield(L, index, name);
    if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TNUMBER)
        luaL_error(L, "database setting %s: a number expected, got %s", name, luaL_typename(L, -1));
    double value = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return value;
}

/* As number_field(), where false means never. */
static double seconds_or_never(lua_State *L, int index, const char *name)
{
    lua_getfield(L, index, name);
    bool never = lua_type(L, -1) == LUA_TBOOLEAN && !lua_toboolean(L, -1);
    lua_pop(L, 1);
    return never ? -1 : number_field(L, index, name);
}

/* The table that is the only argument; its texts are on the stack then. */
static rl_db_opts check_opts(lua_State *L)
{
    rl_db_opts opts = {0};
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_getfield(L, 1, "name");
    opts.name = luaL_optstring(L, 2, "default");
    lua_getfield(L, 1, "url");
    opts.url = luaL_checkstring(L, 3);
    lua_getfield(L, 1, "conn_max_age");
    opts.has_max_age = !lua_isnil(L, 4);
    opts.conn_max_age = lua_type(L, 4) == LUA_TBOOLEAN ? -1 : luaL_optnumber(L, 4, 0);
    opts.conn_health_checks = bool_field(L, 1, "conn_health_checks", false);
    opts.max_connections = (unsigned)number_field(L, 1, "max_connections");
    opts.min_connections = (unsigned)number_field(L, 1, "min_connections");
    opts.idle_timeout = number_field(L, 1, "idle_timeout");
    opts.acquire_timeout = number_field(L, 1, "acquire_timeout");
    opts.statement_timeout = number_field(L, 1, "statement_timeout");
    opts.slow_statement = seconds_or_never(L, 1, "slow_statement");
    opts.idle_in_transaction_timeout = seconds_or_never(L, 1, "idle_in_transaction_timeout");
    opts.hold_warning = seconds_or_never(L, 1, "hold_warning");
    opts.statement_cache_size = (unsigned)number_field(L, 1, "statement_cache_size");
    lua_getfield(L, 1, "shared_connections");
    opts.has_shared_connections = !lua_isnil(L, -1);
    lua_pop(L, 1);
    opts.shared_connections = (unsigned)number_field(L, 1, "shared_connections");
    opts.no_prepare = !bool_field(L, 1, "prepare", true);
    opts.pgbouncer = bool_field(L, 1, "pgbouncer", false);
    opts.no_coalesce = !bool_field(L, 1, "coalesce", true);
    return opts;
}

/* check{ name =, url =, … }: raises what open() would raise. */
static int l_check(lua_State *L)
{
    rl_db_opts opts = check_opts(L);
    rl_err err;

    if (rl_db_check_opts(&opts, &err) < 0)
        rl_vm_raise(L, &err);
    return 0;
}

/* open{ name =, url =, … } -> handle; raises what is wrong with the URL or the settings. */
static int l_open(lua_State *L)
{
    rl_worker *w = rl_worker_of(L);
    rl_db_opts opts = check_opts(L);
    rl_err err;
    unsigned at = 0;
    while (at < w->ndbs && w->dbs[at])
        at++;
    if (at == RL_MAX_DATABASES)
        return luaL_error(L, "more than %d databases", RL_MAX_DATABASES);

    unsigned *slot = lua_newuserdata(L, sizeof(*slot));
    luaL_getmetatable(L, HANDLE);
    lua_setmetatable(L, -2);
    rl_db *db;
    if (rl_db_open(&db, &w->loop, &opts, &err) < 0)
        rl_vm_raise(L, &err);
    *slot = at;
    w->dbs[at] = db;
    if (at == w->ndbs)
        w->ndbs++;
    return 1;
}

struct closing {
    rl_worker *worker;
    rl_task *task; /* NULL: cancelled; the closing goes on */
};

static void on_closed(void *arg)
{
    struct closing *op = arg;

    op->worker->dbs_closing--;
    if (op->task) {
        lua_pushboolean(rl_task_stack(op->task), true);
        rl_task_wake(op->task, 1);
    }
    rl_free(op);
}

static void cancel_closing(void *arg)
{
    ((struct closing *)arg)->task = NULL;
}

/* close(handle) -> true | nil, error: refuses new work, waits a second for what runs. A slot that
 * is free again may be another database's: the handle is of no use any more. */
static int l_close(lua_State *L)
{
    rl_worker *w = rl_worker_of(L);
    rl_db *db = rl_db_check_present(L, 1);
    unsigned *slot = check_slot(L, 1);
    rl_task *t = rl_task_current(L);

    struct closing *op = rl_malloc(sizeof(*op));
    *op = (struct closing){w, t};
    w->dbs_closing++;
    w->dbs[*slot] = NULL;
    *slot = RL_MAX_DATABASES;
    rl_db_close(db, 1, on_closed, op);
    return rl_task_park(L, t, cancel_closing, op);
}

/* exchange(handle, other): what is open as other has the place of handle from now on, and other is
 * none any more. */
static int l_exchange(lua_State *L)
{
    rl_worker *w = rl_worker_of(L);
    unsigned *slot = check_slot(L, 1), *other = check_slot(L, 2);
    rl_db *by = w->dbs[*other];

    luaL_argcheck(L, *slot != *other, 2, "the same database");
    w->dbs[*other] = NULL;
    *other = RL_MAX_DATABASES;
    rl_retire(w, *slot, by);
    return 0;
}

/* Statements */

struct query {
    rl_db *db;
    rl_query *query;
    rl_task *task;
    bool reads, by_key;
    rl_pin *pin; /* or NULL */
};

static int push_result(const struct query *q, const rl_result *result)
{
    lua_State *co = rl_task_stack(q->task);

    return q->by_key ? rl_db_push_row(co, result) : rl_db_push_result(co, result, !q->reads);
}

static void on_result(void *arg, rl_result *result, const rl_err *err)
{
    struct query *q = arg;

    rl_pin_end(q->pin);
    rl_db_tell_slow(q->db, q->query, rl_task_stack(q->task));
    if (err)
        rl_task_wake_err(q->task, err);
    else
        rl_task_wake(q->task, push_result(q, result));
    rl_result_free(result);
    rl_free(q);
}

static void cancel_query(void *op)
{
    struct query *q = op;

    rl_pin_end(q->pin);
    rl_query_cancel(q->query);
    rl_free(q);
}

static void hurry_query(void *op)
{
    rl_query_hurry(((struct query *)op)->query);
}

/* Parameters from `arg` on, and the statement in the name of the running task. */
static int run(lua_State *L, rl_statement *st, int arg)
{
    rl_db *db = rl_db_check(L, 1);
    rl_value few[16], *params = few;
    unsigned n = st->nparams;

    luaL_checkstack(L, 4, "too many parameters");
    if (n > RL_COUNT(few))
        params = lua_newuserdata(L, n * sizeof(*params));
    for (unsigned i = 0; i < n; i++)
        params[i] = rl_db_check_param(L, arg + (int)i, (int)i + 1);
    st->params = params;
    rl_task *t = rl_task_current(L);

    rl_pin *pin = rl_pin_find(t, db);
    struct query *q = rl_malloc(sizeof(*q));
    q->db = db;
    q->reads = st->reads;
    q->by_key = st->many.n > 0;
    q->task = t;
    q->pin = pin;
    rl_lease *lease = rl_pin_begin(pin, st->sql);
    q->query = rl_db_query(db, lease, st, on_result, q);
    /* Given up half way, nobody could say whether a COMMIT was done. */
    if (pin && rl_sql_is_commit(st->sql))
        return rl_task_park_firmly(L, t, hurry_query, cancel_query, q);
    return rl_task_park(L, t, cancel_query, q);
}

/* `reads`: the query layer built it, and it changes nothing. */
static int run_counted(lua_State *L, bool reads)
{
    rl_str sql = rl_check_str(L, 2);
    lua_Integer n = luaL_checkinteger(L, 3);

    luaL_argcheck(L, n >= 0 && n <= MAX_PARAMS, 3, "0 to 65535 parameters");
    rl_statement st = {.sql = sql, .nparams = (unsigned)n, .reads = reads};
    return run(L, &st, 4);
}

/* query(handle, sql, n, …) -> rows, affected, names of JSON columns or nil | nil, error */
static int l_query(lua_State *L)
{
    return run_counted(L, false);
}

/* read(handle, sql, n, …): as query, for a statement that only reads. */
static int l_read(lua_State *L)
{
    return run_counted(L, true);
}

/* read_by_key(handle, sql, many, column, key, anyhow) -> row, how many, names of JSON columns or
 * nil | nil, error | false: as read, for a row that `sql` gives to its key; `many` gives those of
 * all keys in an array, whose own keys are in this column, counted from 1. Where there are several
 * rows the first result is the list of them. Without `anyhow` false at once, and nothing is read,
 * if the task has a pin or a table of its own: somebody has to look whether it may. */
static int l_read_by_key(lua_State *L)
{
    const rl_task *t = rl_task_running(L);

    if (t && !lua_toboolean(L, 6) && (t->local != LUA_NOREF || !rl_list_empty(&t->guards))) {
        lua_pushboolean(L, false);
        return 1;
    }
    rl_str sql = rl_check_str(L, 2), many = rl_check_str(L, 3);
    lua_Integer column = luaL_checkinteger(L, 4);

    luaL_argcheck(L, column >= 1 && column <= MAX_PARAMS, 4, "the number of a column");
    rl_statement st = {
        .sql = sql, .nparams = 1, .reads = true, .many = many, .key = (unsigned)column - 1};
    return run(L, &st, 5);
}

/* session_change(sql) -> what it plainly changes of the session | nil */
static int l_session_change(lua_State *L)
{
    lua_pushstring(L, rl_sql_session_change(rl_check_str(L, 1)));
    return 1;
}

/* listen(handle, channel, id) -> true | nil, error: the consumer, one in the background, hears what
 * is said on the channel, until it leaves. */
static int l_listen(lua_State *L)
{
    rl_db *db = rl_db_check_present(L, 1);
    rl_str channel = rl_check_str(L, 2);
    rl_consumer *c = rl_roster_find(&rl_worker_of(L)->roster, luaL_checknumber(L, 3));
    rl_err err;
    luaL_argcheck(L, !c || (c->kind == RL_CONSUMER_BACKGROUND && !c->source), 3,
                  "a consumer in the background without a source expected");

    int rc = c && c->state != RL_CONSUMER_LEAVING
                 ? rl_notify_open(c, db, channel, &err)
                 : rl_err_set(&err, RL_ECLOSED, "the consumer is gone");
    if (rc < 0)
        return rl_failure(L, &err);
    lua_pushboolean(L, true);
    return 1;
}

/* close_old(handle or nil): the boundary, by hand; of every database of the worker without one. */
static int l_close_old(lua_State *L)
{
    if (lua_isnoneornil(L, 1))
        rl_worker_boundary(rl_worker_of(L));
    else
        rl_db_close_old(rl_db_check(L, 1));
    return 0;
}

/* stage(handle): until unstage, one transaction on one connection for everybody (rl_db_stage) */
static int l_stage(lua_State *L)
{
    rl_db_stage(rl_db_check(L, 1));
    return 0;
}

/* unstage(handle) -> true | nil, error: it was lost meanwhile. It is rolled back. */
static int l_unstage(lua_State *L)
{
    rl_err err;

    if (rl_db_unstage(rl_db_check(L, 1), &err) < 0)
        return rl_failure(L, &err);
    lua_pushboolean(L, true);
    return 1;
}

static int l_backend(lua_State *L)
{
    lua_pushstring(L, rl_db_backend(rl_db_check(L, 1)));
    return 1;
}

static int l_name(lua_State *L)
{
    lua_pushstring(L, rl_db_name(rl_db_check(L, 1)));
    return 1;
}

static int l_url(lua_State *L)
{
    lua_pushstring(L, rl_db_display_url(rl_db_check(L, 1)));
    return 1;
}

/* stats(handle) -> figures, see bind_db.h */
static int l_stats(lua_State *L)
{
    return rl_db_push_stats(L, rl_db_check(L, 1));
}

static const luaL_Reg functions[] = {
    {"listen", l_listen},
    {"check", l_check},
    {"open", l_open},
    {"close", l_close}, /* yields */
    {"exchange", l_exchange},
    {"query", l_query},             /* yields */
    {"read", l_read},               /* yields */
    {"read_by_key", l_read_by_key}, /* yields */
    {"session_change", l_session_change},
    {"close_old", l_close_old},
    {"stage", l_stage},
    {"unstage", l_unstage},
    {"backend", l_backend},
    {"name", l_name},
    {"url", l_url},
    {"stats", l_stats},
    {NULL, NULL},
};

int rl_open_db(lua_State *L)
{
    lua_newtable(L);
    luaL_newmetatable(L, HANDLE);
    luaL_openlib(L, NULL, functions, 1);
    rl_db_open_pins(L);
    rl_db_open_values(L);
    rl_db_open_copy(L);
    rl_db_open_ears(L);
    return 1;
}
