/* What bounds a task and what joins several: deadlines, scopes, families, shields, tickets. */
#include "bind/bind.h"

/* Deadlines: a timer that interrupts whatever the task waits for. */

struct deadline {
    uv_timer_t timer;
    rl_guard guard; /* closes the timer if the task ends first */
    rl_task *task;
    unsigned depth; /* shields around it: under another one it waits until that is gone */
    bool passed, tripped;
};

static void free_deadline(uv_handle_t *h)
{
    rl_free(RL_CONTAINER_OF(h, struct deadline, timer));
}

static void pass(struct deadline *d)
{
    if (d->passed)
        return;
    d->passed = true;
    if (d->depth == d->task->shields)
        rl_task_interrupt(d->task, d->tripped);
}

static void on_deadline(uv_timer_t *timer)
{
    pass(RL_CONTAINER_OF(timer, struct deadline, timer));
}

static void release_deadline(rl_guard *guard, rl_task *t)
{
    struct deadline *d = RL_CONTAINER_OF(guard, struct deadline, guard);

    uv_close((uv_handle_t *)&d->timer, free_deadline);
}

/* deadline(seconds) -> token. After that time the task's waits raise rille.Timeout, until
 * undeadline(token) -> whether it has passed. The token must not be used twice. */
static int l_deadline(lua_State *L)
{
    double seconds = rl_check_seconds(L, 1);
    rl_task *t = rl_task_current(L);

    struct deadline *d = rl_calloc(1, sizeof(*d));
    d->task = t;
    d->depth = t->shields;
    uv_timer_init(&t->vm->loop->uv, &d->timer);
    uv_update_time(&t->vm->loop->uv);
    uv_timer_start(&d->timer, on_deadline, (uint64_t)(seconds * 1000 + 0.5), 0);
    rl_task_guard(t, &d->guard, release_deadline);
    lua_pushlightuserdata(L, d);
    return 1;
}

/* Only a deadline of this very task is believed. */
static struct deadline *check_deadline(lua_State *L)
{
    rl_task *t = rl_task_running(L);
    void *token = lua_touserdata(L, 1);

    for (rl_list *it = t ? rl_list_first(&t->guards) : NULL; it && it != &t->guards;
         it = it->next) {
        rl_guard *guard = RL_LIST_ENTRY(it, rl_guard, link);
        if (guard->release == release_deadline &&
            (void *)RL_CONTAINER_OF(guard, struct deadline, guard) == token)
            return token;
    }
    luaL_argerror(L, 1, "no deadline of this task");
    return NULL;
}

static int l_undeadline(lua_State *L)
{
    struct deadline *d = check_deadline(L);
    bool passed = d->passed;

    rl_task_unguard(&d->guard);
    if (passed && d->depth == d->task->shields)
        rl_task_uninterrupt(d->task, d->tripped);
    release_deadline(&d->guard, d->task);
    lua_pushboolean(L, passed);
    return 1;
}

/* Scopes: a deadline that passes when somebody says so, whichever task that is. What says it keeps
 * the token no longer than its scope lasts. */

/* trip(token): the waits in it raise rille.Cancelled. */
static int l_trip(lua_State *L)
{
    struct deadline *d = lua_touserdata(L, 1);

    luaL_argcheck(L, d, 1, "a scope's token expected");
    if (!d->passed)
        d->tripped = true;
    pass(d);
    return 0;
}

/* Families: tasks that end with the one that they were begun for. */

#define FAMILY "rille.Family"

struct family {
    rl_guard guard; /* of the task it is of */
    rl_list tasks;
    int anchor; /* registry reference to this userdata while that task may end it */
    bool over;
};

static void cancel_all(struct family *f)
{
    rl_list *it;

    while ((it = rl_list_pop(&f->tasks)))
        rl_task_cancel(RL_LIST_ENTRY(it, rl_task, owned));
}

static void release_family(rl_guard *guard, rl_task *t)
{
    struct family *f = RL_CONTAINER_OF(guard, struct family, guard);

    f->over = true;
    cancel_all(f);
    luaL_unref(t->vm->L, LUA_REGISTRYINDEX, f->anchor);
}

/* family() of the running task */
static int l_family(lua_State *L)
{
    rl_task *t = rl_task_current(L);
    struct family *f = lua_newuserdata(L, sizeof(*f));

    *f = (struct family){0};
    rl_list_init(&f->tasks);
    luaL_getmetatable(L, FAMILY);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    f->anchor = rl_vm_ref(L);
    rl_task_guard(t, &f->guard, release_family);
    return 1;
}

/* spawn_child(fn, family) -> handle: its errors are the family's to tell. */
static int l_spawn_child(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    struct family *f = luaL_checkudata(L, 2, FAMILY);

    luaL_argcheck(L, !f->over, 2, "the family is over");
    return rl_bind_spawn(L, &f->tasks, true);
}

/* disband(family): those that there still are, are cancelled. */
static int l_disband(lua_State *L)
{
    struct family *f = luaL_checkudata(L, 1, FAMILY);

    if (f->over)
        return 0;
    rl_task_unguard(&f->guard);
    f->over = true;
    cancel_all(f);
    luaL_unref(L, LUA_REGISTRYINDEX, f->anchor);
    return 0;
}

/* Shields */

/* Have the task notice the deadlines that are inside of its innermost shield, and no others. */
static void count_interrupts(rl_task *t)
{
    t->interrupts = t->trips = 0;
    RL_LIST_EACH (it, &t->guards) {
        rl_guard *guard = RL_LIST_ENTRY(it, rl_guard, link);
        const struct deadline *d = RL_CONTAINER_OF(guard, struct deadline, guard);
        if (guard->release != release_deadline || !d->passed || d->depth != t->shields)
            continue;
        t->interrupts++;
        t->trips += d->tripped;
    }
}

/* shield(), unshield(): in between, neither a cancel nor a deadline from outside is noticed. */
static int l_shield(lua_State *L)
{
    rl_task *t = rl_task_running(L);

    if (!t)
        return luaL_error(L, "shield: no task is running");
    rl_task_shield(t);
    count_interrupts(t);
    return 0;
}

static int l_unshield(lua_State *L)
{
    rl_task *t = rl_task_running(L);

    if (!t || !t->shields)
        return luaL_error(L, "unshield: there is no shield");
    rl_task_unshield(t);
    count_interrupts(t);
    return 0;
}

/* Tickets: one task waits with it, until another hands it something. */

#define TICKET "rille.Ticket"

struct ticket {
    rl_task *task; /* that waits; NULL: none */
};

/* ticket() */
static int l_ticket(lua_State *L)
{
    struct ticket *ticket = lua_newuserdata(L, sizeof(*ticket));

    ticket->task = NULL;
    luaL_getmetatable(L, TICKET);
    lua_setmetatable(L, -2);
    return 1;
}

static void cancel_ticket(void *op)
{
    struct ticket *ticket = op;

    ticket->task = NULL;
}

/* await(ticket) -> true, what it was handed | nil, error. The caller keeps the ticket meanwhile. */
static int l_await(lua_State *L)
{
    struct ticket *ticket = luaL_checkudata(L, 1, TICKET);
    luaL_argcheck(L, !ticket->task, 1, "somebody waits with this ticket");
    rl_task *t = rl_task_current(L);

    ticket->task = t;
    return rl_task_park(L, t, cancel_ticket, ticket);
}

/* wake(ticket, value) -> did somebody wait? Who did has the value, whatever happens to them. */
static int l_wake(lua_State *L)
{
    struct ticket *ticket = luaL_checkudata(L, 1, TICKET);
    rl_task *t = ticket->task;
    bool waits = t && t->state == RL_TASK_PARKED && t->op == ticket && t->vm->running != t;

    lua_settop(L, 2);
    if (waits) {
        ticket->task = NULL;
        rl_vm_enter(t->vm);
        lua_pushboolean(rl_task_stack(t), true);
        lua_xmove(L, rl_task_stack(t), 1);
        rl_task_wake(t, 2);
        rl_vm_leave(t->vm);
    }
    lua_pushboolean(L, waits);
    return 1;
}

static const luaL_Reg functions[] = {
    {"deadline", l_deadline},
    {"undeadline", l_undeadline},
    {"trip", l_trip},
    {"family", l_family},
    {"spawn_child", l_spawn_child},
    {"disband", l_disband},
    {"shield", l_shield},
    {"unshield", l_unshield},
    {"ticket", l_ticket},
    {"await", l_await}, /* yields */
    {"wake", l_wake},
    {NULL, NULL},
};

void rl_open_task_scope(lua_State *L)
{
    luaL_newmetatable(L, TICKET);
    luaL_newmetatable(L, FAMILY);
    lua_pop(L, 2);
    luaL_register(L, NULL, functions);
}
