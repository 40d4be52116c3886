/* Databases: handles, statements, pins.
 *
 * A handle is the number of a database in worker.dbs. A pin is a lease that a guard ties to
 * the task: however the task ends, the connection goes back, cleaned, and what was left open
 * on it is said in the log together with where it began. Nobody pays for that traceback while all
 * is well: a pin that is left behind was left by a coroutine that still stands where it waited. */
#include "bind/bind_db.h"

#include "base/log.h"
#include "core/notify.h"
#include "db/sql.h"

#define HANDLE "rille.Database"

enum { MAX_PARAMS = 65535 };

struct pin {
    rl_guard guard; /* on the task that pinned */
    rl_db *db;
    rl_lease *lease;
    int state;           /* registry reference of lua/rille/db's own table */
    char *where;         /* file and line of the function that it is for */
    const char *changed; /* session state, by its first statement; NULL: none that was seen */
    uv_timer_t hold;     /* looks whether the task does something else with the pin in its hand */
    rl_task *task;
    uint64_t idle_since; /* ms on the loop's clock */
    unsigned running;    /* statements under way: 0 or 1 */
};

static rl_db *check_db(lua_State *L, int arg)
{
    unsigned *slot = luaL_checkudata(L, arg, HANDLE);
    rl_worker *w = rl_worker_of(L);

    luaL_argcheck(L, *slot < w->ndbs && w->dbs[*slot], arg, "the database is closed");
    return w->dbs[*slot];
}

static void free_pin(struct pin *p)
{
    rl_free(p->where);
    rl_free(p);
}

static void on_hold_closed(uv_handle_t *timer)
{
    free_pin(RL_CONTAINER_OF(timer, struct pin, hold));
}

/* A pin that was granted goes; its memory when the loop has let go of the timer. */
static void drop_pin(struct pin *p, lua_State *L)
{
    rl_lease_return(p->lease);
    luaL_unref(L, LUA_REGISTRYINDEX, p->state);
    uv_close((uv_handle_t *)&p->hold, on_hold_closed);
}

/* Where it began: what state.began says, or else the stack of the coroutine that pinned, which has
 * not moved since. */
static void add_beginning(struct pin *p, lua_State *L, rl_buf *out)
{
    int top = lua_gettop(L);
    size_t n;

    rl_buf_printf(out, " It began in the function at %s.", p->where);
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->state);
    lua_pushliteral(L, "began");
    lua_rawget(L, top + 1);
    if (!lua_isstring(L, -1)) {
        lua_pushliteral(L, "coroutine");
        lua_rawget(L, top + 1);
        lua_State *co = lua_tothread(L, -1);
        if (co)
            luaL_traceback(L, co, NULL, 0);
    }
    const char *trace = lua_tolstring(L, -1, &n);
    if (trace && lua_type(L, -1) == LUA_TSTRING) {
        rl_buf_add_c(out, '\n');
        rl_buf_add(out, trace, n);
    }
    lua_settop(L, top);
}

/* The task is over, and nobody gave its connection back. */
static void release_pin(rl_guard *guard, rl_task *t)
{
    struct pin *p = RL_CONTAINER_OF(guard, struct pin, guard);
    rl_buf text = {0};

    if (rl_lease_look(p->lease).in_transaction)
        rl_buf_printf(&text, "a task ended inside a transaction on database %s: rolled back.",
                      rl_db_name(p->db));
    else
        rl_buf_printf(&text, "a task ended with a connection of database %s pinned: taken back.",
                      rl_db_name(p->db));
    if (p->changed)
        rl_buf_printf(&text, " It had changed the session (%s): reset.", p->changed);
    add_beginning(p, t->vm->L, &text);
    rl_error("%s", rl_buf_cstr(&text));
    rl_buf_fini(&text);
    drop_pin(p, t->vm->L);
}

/* A COPY talks to the server without statements; lua/rille/db/copy.lua notes it. */
static bool is_copying(struct pin *p)
{
    lua_State *L = p->task->vm->L;

    lua_rawgeti(L, LUA_REGISTRYINDEX, p->state);
    lua_pushliteral(L, "copying");
    lua_rawget(L, -2);
    bool copying = lua_toboolean(L, -1);
    lua_pop(L, 2);
    return copying;
}

/* The pin has been held for so long: by a task that waits for something else? */
static void on_hold(uv_timer_t *timer)
{
    struct pin *p = RL_CONTAINER_OF(timer, struct pin, hold);
    uint64_t limit = rl_db_hold_warning(p->db), idle = uv_now(timer->loop) - p->idle_since;

    bool busy = p->running || is_copying(p);

    if (busy || idle < limit) {
        uv_timer_start(timer, on_hold, busy ? limit : limit - idle, 0);
        return;
    }
    rl_buf text = {0};
    rl_buf_printf(&text,
                  "a task has held a connection of database %s for %.1f s while it waits for "
                  "something else; others may wait for that connection.",
                  rl_db_name(p->db), (double)idle / 1000);
    add_beginning(p, p->task->vm->L, &text);
    rl_warn("%s", rl_buf_cstr(&text));
    rl_buf_fini(&text);
}

static struct pin *find_pin(rl_task *t, const rl_db *db)
{
    for (rl_list *it = t->guards.next; it != &t->guards; it = it->next) {
        rl_guard *guard = RL_LIST_ENTRY(it, rl_guard, link);
        struct pin *p = RL_CONTAINER_OF(guard, struct pin, guard);
        if (guard->release == release_pin && p->db == db)
            return p;
    }
    return NULL;
}

rl_db *rl_db_check(lua_State *L, int arg)
{
    return check_db(L, arg);
}

rl_lease *rl_db_pinned(rl_task *t, const rl_db *db)
{
    struct pin *p = find_pin(t, db);

    return p ? p->lease : NULL;
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

/* open{ name =, url =, … } -> handle; raises what is wrong with the URL or the settings. */
static int l_open(lua_State *L)
{
    rl_worker *w = rl_worker_of(L);
    rl_db_opts opts = {0};
    rl_err err;
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
    rl_task *task; /* NULL: cancelled; the closing goes on */
};

static void on_closed(void *arg)
{
    struct closing *op = arg;

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
    rl_db *db = check_db(L, 1);
    unsigned *slot = luaL_checkudata(L, 1, HANDLE);
    rl_task *t = rl_task_current(L);

    struct closing *op = rl_malloc(sizeof(*op));
    op->task = t;
    w->dbs[*slot] = NULL;
    *slot = RL_MAX_DATABASES;
    rl_db_close(db, 1, on_closed, op);
    return rl_task_park(L, t, cancel_closing, op);
}

/* Statements */

struct query {
    rl_db *db;
    rl_query *query;
    rl_task *task;
    bool reads;
    struct pin *pin; /* or NULL */
};

/* A statement on the pin begins (1) or ends (-1). */
static void pin_busy(struct pin *p, int by)
{
    if (!p)
        return;
    p->running += (unsigned)by;
    p->idle_since = uv_now(p->hold.loop);
}

static void on_result(void *arg, rl_result *result, const rl_err *err)
{
    struct query *q = arg;

    pin_busy(q->pin, -1);
    rl_db_tell_slow(q->db, q->query, rl_task_stack(q->task));
    if (err)
        rl_task_wake_err(q->task, err);
    else
        rl_task_wake(q->task, rl_db_push_result(rl_task_stack(q->task), result, !q->reads));
    rl_result_free(result);
    rl_free(q);
}

static void cancel_query(void *op)
{
    struct query *q = op;

    pin_busy(q->pin, -1);
    rl_query_cancel(q->query);
    rl_free(q);
}

static void hurry_query(void *op)
{
    rl_query_hurry(((struct query *)op)->query);
}

/* `reads`: the query layer built it, and it changes nothing. */
static int run(lua_State *L, bool reads)
{
    rl_db *db = check_db(L, 1);
    rl_str sql = rl_check_str(L, 2);
    lua_Integer n = luaL_checkinteger(L, 3);
    luaL_argcheck(L, n >= 0 && n <= MAX_PARAMS, 3, "0 to 65535 parameters");
    luaL_checkstack(L, 4, "too many parameters");
    rl_value few[16], *params = n <= 16 ? few : lua_newuserdata(L, (size_t)n * sizeof(*params));
    for (int i = 0; i < (int)n; i++)
        params[i] = rl_db_check_param(L, 4 + i, i + 1);
    rl_task *t = rl_task_current(L);

    struct pin *pin = find_pin(t, db);
    struct query *q = rl_malloc(sizeof(*q));
    q->db = db;
    q->reads = reads;
    q->task = t;
    q->pin = pin;
    pin_busy(pin, 1);
    if (pin && !pin->changed)
        pin->changed = rl_sql_session_change(sql);
    q->query =
        rl_db_query(db, pin ? pin->lease : NULL,
                    &(rl_statement){sql, params, (unsigned)n, reads, RL_COPY_NONE}, on_result, q);
    /* Given up half way, nobody could say whether a COMMIT was done. */
    if (pin && rl_sql_is_commit(sql))
        return rl_task_park_firmly(L, t, hurry_query, cancel_query, q);
    return rl_task_park(L, t, cancel_query, q);
}

/* query(handle, sql, n, …) -> rows, affected, names of JSON columns or nil | nil, error */
static int l_query(lua_State *L)
{
    return run(L, false);
}

/* read(handle, sql, n, …): as query, for a statement that only reads. */
static int l_read(lua_State *L)
{
    return run(L, true);
}

/* Pins */

struct borrow {
    rl_borrow *borrow;
    rl_task *task;
    struct pin *pin;
};

static void on_borrowed(void *arg, rl_lease *lease, const rl_err *err)
{
    struct borrow *b = arg;

    if (err) {
        free_pin(b->pin);
        rl_task_wake_err(b->task, err);
    } else {
        lua_State *L = b->task->vm->L;
        struct pin *p = b->pin;
        p->lease = lease;
        p->task = b->task;
        lua_newtable(L);
        p->state = luaL_ref(L, LUA_REGISTRYINDEX);
        rl_task_guard(b->task, &p->guard, release_pin);
        uv_timer_init(&b->task->vm->loop->uv, &p->hold);
        p->idle_since = uv_now(p->hold.loop);
        if (rl_db_hold_warning(p->db) != UINT64_MAX)
            uv_timer_start(&p->hold, on_hold, rl_db_hold_warning(p->db), 0);
        lua_pushboolean(rl_task_stack(b->task), true);
        rl_task_wake(b->task, 1);
    }
    rl_free(b);
}

static void cancel_borrow(void *op)
{
    struct borrow *b = op;

    rl_borrow_cancel(b->borrow);
    free_pin(b->pin);
    rl_free(b);
}

/* pin(handle, where, writes) -> true | nil, error: one connection for this task until unpin;
 * `writes`: to begin with a transaction that may write. */
static int l_pin(lua_State *L)
{
    rl_db *db = check_db(L, 1);
    rl_str where = rl_opt_str(L, 2);
    bool writes = lua_toboolean(L, 3);
    rl_task *t = rl_task_current(L);

    if (find_pin(t, db))
        return luaL_error(L, "the task has pinned a connection of %s already", rl_db_name(db));
    struct borrow *b = rl_malloc(sizeof(*b));
    b->task = t;
    b->pin = rl_calloc(1, sizeof(*b->pin));
    b->pin->db = db;
    b->pin->where = rl_strndup(where.p, where.n);
    b->borrow = (writes ? rl_db_borrow_to_write : rl_db_borrow)(db, b->pin->where, on_borrowed, b);
    return rl_task_park(L, t, cancel_borrow, b);
}

static struct pin *pin_here(lua_State *L)
{
    rl_task *t = rl_task_running(L);
    rl_db *db = check_db(L, 1);

    return t ? find_pin(t, db) : NULL;
}

/* unpin(handle) -> was a transaction open? The connection goes back, and that is rolled back. */
static int l_unpin(lua_State *L)
{
    struct pin *p = pin_here(L);

    if (!p)
        return 0;
    lua_pushboolean(L, rl_lease_look(p->lease).in_transaction);
    rl_task_unguard(&p->guard);
    drop_pin(p, L);
    return 1;
}

/* pin_state(handle) -> the pin's table | nil without a pin */
static int l_pin_state(lua_State *L)
{
    struct pin *p = pin_here(L);

    if (!p)
        return 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->state);
    return 1;
}

/* pins() -> the tables of all pins of the running task */
static int l_pins(lua_State *L)
{
    rl_task *t = rl_task_running(L);
    int n = 0;

    for (rl_list *it = t ? t->guards.next : NULL; it && it != &t->guards; it = it->next) {
        rl_guard *guard = RL_LIST_ENTRY(it, rl_guard, link);
        if (guard->release != release_pin)
            continue;
        luaL_checkstack(L, 1, "too many pins");
        lua_rawgeti(L, LUA_REGISTRYINDEX, RL_CONTAINER_OF(guard, struct pin, guard)->state);
        n++;
    }
    return n;
}

/* transaction(handle) -> "open" or "failed", as the connection says | nil: none, or no pin */
static int l_transaction(lua_State *L)
{
    struct pin *p = pin_here(L);
    rl_lease_state state = {0};

    if (p)
        state = rl_lease_look(p->lease);
    if (!state.in_transaction)
        return 0;
    lua_pushstring(L, state.failed ? "failed" : "open");
    return 1;
}

/* session_change(sql) -> what it plainly changes of the session | nil */
static int l_session_change(lua_State *L)
{
    lua_pushstring(L, rl_sql_session_change(rl_check_str(L, 1)));
    return 1;
}

/* mark_dirty(handle): session state was changed; have it reset when the pin ends. */
static int l_mark_dirty(lua_State *L)
{
    struct pin *p = pin_here(L);

    if (p)
        rl_lease_mark_dirty(p->lease);
    return 0;
}

/* listen(handle, channel, id) -> true | nil, error: the consumer, one in the background, hears what
 * is said on the channel, until it leaves. */
static int l_listen(lua_State *L)
{
    rl_db *db = check_db(L, 1);
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
        rl_db_close_old(check_db(L, 1));
    return 0;
}

static int l_backend(lua_State *L)
{
    lua_pushstring(L, rl_db_backend(check_db(L, 1)));
    return 1;
}

static int l_name(lua_State *L)
{
    lua_pushstring(L, rl_db_name(check_db(L, 1)));
    return 1;
}

static int l_url(lua_State *L)
{
    lua_pushstring(L, rl_db_display_url(check_db(L, 1)));
    return 1;
}

/* stats(handle) -> figures, see bind_db.h */
static int l_stats(lua_State *L)
{
    return rl_db_push_stats(L, check_db(L, 1));
}

static const luaL_Reg functions[] = {
    {"listen", l_listen},
    {"open", l_open},
    {"close", l_close}, /* yields */
    {"query", l_query}, /* yields */
    {"read", l_read},   /* yields */
    {"pin", l_pin},     /* yields */
    {"unpin", l_unpin},
    {"pin_state", l_pin_state},
    {"pins", l_pins},
    {"transaction", l_transaction},
    {"session_change", l_session_change},
    {"mark_dirty", l_mark_dirty},
    {"close_old", l_close_old},
    {"backend", l_backend},
    {"name", l_name},
    {"url", l_url},
    {"stats", l_stats},
    {NULL, NULL},
};

int rl_open_db(lua_State *L)
{
    luaL_newmetatable(L, HANDLE);
    lua_pop(L, 1);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    rl_db_open_values(L);
    rl_db_open_copy(L);
    return 1;
}
