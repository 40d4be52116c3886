/* Pins: leases that are tied to a task.
 *
 * A guard does the tying: however the task ends, the connection goes back, cleaned, and what was
 * left open on it is said in the log together with where it began. Nobody pays for that traceback
 * while all is well: a pin that is left behind was left by a coroutine that still stands where it
 * waited. */
#include "bind/bind_db.h"

#include "base/log.h"
#include "db/sql.h"

struct rl_pin {
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

static void free_pin(rl_pin *p)
{
    rl_free(p->where);
    rl_free(p);
}

static void on_hold_closed(uv_handle_t *timer)
{
    free_pin(RL_CONTAINER_OF(timer, rl_pin, hold));
}

/* A pin that was granted goes; its memory when the loop has let go of the timer. */
static void drop_pin(rl_pin *p, lua_State *L)
{
    rl_lease_return(p->lease);
    luaL_unref(L, LUA_REGISTRYINDEX, p->state);
    uv_close((uv_handle_t *)&p->hold, on_hold_closed);
}

/* Where it began: what state.began says, or else the stack of the coroutine that pinned, which has
 * not moved since. */
static void add_beginning(rl_pin *p, lua_State *L, rl_buf *out)
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
    rl_pin *p = RL_CONTAINER_OF(guard, rl_pin, guard);
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
static bool is_copying(rl_pin *p)
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
    rl_pin *p = RL_CONTAINER_OF(timer, rl_pin, hold);
    uint64_t limit = rl_db_hold_warning(p->db),
             idle = rl_loop_now(p->task->vm->loop) - p->idle_since;

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

rl_pin *rl_pin_find(rl_task *t, const rl_db *db)
{
    for (rl_list *it = t->guards.next; it != &t->guards; it = it->next) {
        rl_guard *guard = RL_LIST_ENTRY(it, rl_guard, link);
        rl_pin *p = RL_CONTAINER_OF(guard, rl_pin, guard);
        if (guard->release == release_pin && p->db == db)
            return p;
    }
    return NULL;
}

rl_lease *rl_pin_lease(const rl_pin *p)
{
    return p ? p->lease : NULL;
}

rl_lease *rl_pin_begin(rl_pin *p, rl_str sql)
{
    if (!p)
        return NULL;
    p->running++;
    p->idle_since = rl_loop_now(p->task->vm->loop);
    if (!p->changed)
        p->changed = rl_sql_session_change(sql);
    return p->lease;
}

void rl_pin_end(rl_pin *p)
{
    if (!p)
        return;
    p->running--;
    p->idle_since = rl_loop_now(p->task->vm->loop);
}

/* Taking and giving back */

struct borrow {
    rl_borrow *borrow;
    rl_task *task;
    rl_pin *pin;
};

static void on_borrowed(void *arg, rl_lease *lease, const rl_err *err)
{
    struct borrow *b = arg;

    if (err) {
        free_pin(b->pin);
        rl_task_wake_err(b->task, err);
    } else {
        lua_State *L = b->task->vm->L;
        rl_pin *p = b->pin;
        p->lease = lease;
        p->task = b->task;
        lua_newtable(L);
        p->state = rl_vm_ref(L);
        rl_task_guard(b->task, &p->guard, release_pin);
        uv_timer_init(&b->task->vm->loop->uv, &p->hold);
        p->idle_since = rl_loop_now(p->task->vm->loop);
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
    rl_db *db = rl_db_check(L, 1);
    rl_str where = rl_opt_str(L, 2);
    bool writes = lua_toboolean(L, 3);
    rl_task *t = rl_task_current(L);

    if (rl_pin_find(t, db))
        return luaL_error(L, "the task has pinned a connection of %s already", rl_db_name(db));
    struct borrow *b = rl_malloc(sizeof(*b));
    b->task = t;
    b->pin = rl_calloc(1, sizeof(*b->pin));
    b->pin->db = db;
    b->pin->where = rl_strndup(where.p, where.n);
    b->borrow = (writes ? rl_db_borrow_to_write : rl_db_borrow)(db, b->pin->where, on_borrowed, b);
    return rl_task_park(L, t, cancel_borrow, b);
}

static rl_pin *pin_here(lua_State *L)
{
    rl_task *t = rl_task_running(L);
    rl_db *db = rl_db_check(L, 1);

    return t ? rl_pin_find(t, db) : NULL;
}

/* unpin(handle) -> was a transaction open? The connection goes back, and that is rolled back. */
static int l_unpin(lua_State *L)
{
    rl_pin *p = pin_here(L);

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
    rl_pin *p = pin_here(L);

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
        lua_rawgeti(L, LUA_REGISTRYINDEX, RL_CONTAINER_OF(guard, rl_pin, guard)->state);
        n++;
    }
    return n;
}

/* transaction(handle) -> "open" or "failed", as the connection says | nil: none, or no pin */
static int l_transaction(lua_State *L)
{
    rl_pin *p = pin_here(L);
    rl_lease_state state = {0};

    if (p)
        state = rl_lease_look(p->lease);
    if (!state.in_transaction)
        return 0;
    lua_pushstring(L, state.failed ? "failed" : "open");
    return 1;
}

/* mark_dirty(handle): session state was changed; have it reset when the pin ends. */
static int l_mark_dirty(lua_State *L)
{
    rl_pin *p = pin_here(L);

    if (p)
        rl_lease_mark_dirty(p->lease);
    return 0;
}

static const luaL_Reg functions[] = {
    {"pin", l_pin}, /* yields */
    {"unpin", l_unpin},
    {"pin_state", l_pin_state},
    {"pins", l_pins},
    {"transaction", l_transaction},
    {"mark_dirty", l_mark_dirty},
    {NULL, NULL},
};

void rl_db_open_pins(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
