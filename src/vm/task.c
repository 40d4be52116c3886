#include "vm/task.h"

enum {
    MAX_STACK_KEPT = 256,   /* slots: a coroutine grown past this is not pooled */
    TASKS_PER_TURN = 1024,  /* then sockets and timers get a look in */
    EVENT_ROOM = 256 << 10, /* bytes that an event may take before its handler begins */
};

static char sentinel;

void rl_task_push_sentinel(lua_State *L)
{
    lua_pushlightuserdata(L, &sentinel);
}

rl_task *rl_task_new(rl_vm *vm, rl_task_ended_fn *ended, void *arg)
{
    rl_task *t;

    if (vm->nspare) {
        t = vm->spare[--vm->nspare];
    } else {
        t = rl_calloc(1, sizeof(*t));
        t->vm = vm;
        rl_vm_enter(vm);
        t->co = lua_newthread(vm->L);
        t->ref = luaL_ref(vm->L, LUA_REGISTRYINDEX);
        rl_vm_leave(vm);
        t->local = LUA_NOREF;
        rl_list_init(&t->link);
        rl_list_init(&t->guards);
        rl_list_init(&t->owned);
    }
    t->state = RL_TASK_NEW;
    t->cancelled = false;
    t->interrupts = t->trips = t->shields = 0;
    t->ended = ended;
    t->arg = arg;
    t->owner = vm->running ? vm->running->owner : 0;
    vm->ntasks++;
    return t;
}

static void free_task(rl_task *t)
{
    luaL_unref(t->vm->L, LUA_REGISTRYINDEX, t->ref);
    rl_free(t);
}

static void recycle(rl_task *t, bool failed)
{
    rl_vm *vm = t->vm;

    if (t->local != LUA_NOREF) {
        luaL_unref(vm->L, LUA_REGISTRYINDEX, t->local);
        t->local = LUA_NOREF;
    }
    vm->ntasks--;
    if (failed || vm->nspare == RL_COUNT(vm->spare) || lua_gettop(t->co) > MAX_STACK_KEPT) {
        free_task(t);
        return;
    }
    lua_settop(t->co, 0);
    vm->spare[vm->nspare++] = t;
}

void rl_task_free_spares(rl_vm *vm)
{
    while (vm->nspare)
        free_task(vm->spare[--vm->nspare]);
}

/* A wait that the script left by other means than its result: the yield failed on its way out
 * (a coroutine inside table.sort), and pcall caught it. */
static void abandon_wait(rl_task *t)
{
    if (t->cancel)
        t->cancel(t->op);
    t->cancel = t->hurry = NULL;
    t->op = NULL;
}

static void end(rl_task *t, bool failed)
{
    rl_list *it;

    if (t->op)
        abandon_wait(t);
    t->state = RL_TASK_ENDED;
    while ((it = rl_list_pop(&t->guards))) {
        rl_guard *guard = RL_LIST_ENTRY(it, rl_guard, link);
        guard->release(guard, t);
    }
    rl_list_remove(&t->owned);
    if (t->ended)
        t->ended(t, t->arg, t->co, failed);
    recycle(t, failed);
}

/* The only caller of lua_resume() in the program. */
static void step(rl_task *t)
{
    rl_vm *vm = t->vm;

    RL_CHECK(vm->running == NULL);
    if (vm->gc_stress)
        rl_vm_collect_all(vm);
    t->state = RL_TASK_RUNNING;
    __atomic_store_n(&vm->running, t, __ATOMIC_RELEASE);
    rl_vm_begin_script(vm);
    int rc = lua_resume(t->co, t->nresume);
    rl_vm_end_script(vm);
    __atomic_store_n(&vm->running, NULL, __ATOMIC_RELEASE);

    if (rc == LUA_YIELD) {
        if (t->state == RL_TASK_PARKED && lua_touserdata(t->co, -1) == &sentinel) {
            lua_settop(t->co, 0);
            return;
        }
        /* A bare coroutine.yield() in a handler: nobody would ever resume it. */
        lua_settop(t->co, 0);
        lua_pushliteral(t->co, "coroutine.yield() outside a coroutine of the script's own: "
                               "nothing would resume this handler");
        end(t, true);
        return;
    }
    end(t, rc != 0);
}

void rl_task_start(rl_task *t, int nargs)
{
    if (t->vm->running) {
        rl_task_queue(t, nargs);
        return;
    }
    t->nresume = nargs;
    step(t);
}

void rl_task_queue(rl_task *t, int nargs)
{
    t->state = RL_TASK_READY;
    t->nresume = nargs;
    rl_list_push(&t->vm->ready, &t->link);
    rl_loop_kick(t->vm->loop);
}

bool rl_task_run_ready(rl_vm *vm)
{
    rl_list *it;
    int n = 0;

    while (n < TASKS_PER_TURN && (it = rl_list_pop(&vm->ready))) {
        step(RL_LIST_ENTRY(it, rl_task, link));
        n++;
    }
    return n > 0;
}

bool rl_task_renew(rl_task *t)
{
    rl_vm *vm = t->vm;

    if (t->cancelled || t->interrupts || t->shields || t->op || t->local != LUA_NOREF ||
        !rl_list_empty(&t->guards) || !rl_list_empty(&vm->drafts) || vm->gc_stress ||
        !rl_vm_has_room(vm, EVENT_ROOM)) /* what the core gives a script is never refused */
        return false;
    return rl_vm_extend_slice(vm);
}

static bool is_cancelled(const rl_task *t)
{
    return t->cancelled && (!t->shields || t->vm->merciless);
}

static void why_not_wait(const rl_task *t, rl_err *err)
{
    if (is_cancelled(t))
        rl_err_set(err, RL_ECANCELLED, "the task was cancelled");
    else if (t->trips)
        rl_err_set(err, RL_ECANCELLED, "the scope was cancelled");
    else
        rl_err_set(err, RL_ETIMEOUT, "the deadline has passed");
}

bool rl_task_may_wait(const rl_task *t)
{
    return !t->op && !t->cancelled && !t->interrupts &&
           lua_isyieldable(rl_need_running(&t->vm->need));
}

rl_task *rl_task_current(lua_State *L)
{
    rl_task *t = rl_vm_of(L)->running;

    if (RL_UNLIKELY(!t))
        luaL_error(L, "cannot wait here: no task is running (a module may not wait while it "
                      "loads; use on_start)");
    if (RL_UNLIKELY(!lua_isyieldable(L)))
        luaL_error(L, "cannot wait here: called through table.sort, string.gsub, require or "
                      "another function of C that cannot be suspended");
    if (RL_UNLIKELY(t->op))
        abandon_wait(t);
    if (RL_UNLIKELY(t->cancelled || t->interrupts) && (is_cancelled(t) || t->interrupts)) {
        rl_err err;
        why_not_wait(t, &err);
        rl_vm_raise(L, &err);
    }
    return t;
}

int rl_task_park(lua_State *L, rl_task *t, rl_task_cancel_fn *cancel, void *op)
{
    RL_CHECK(t->vm->running == t && op != NULL && t->op == NULL);
    t->state = RL_TASK_PARKED;
    t->cancel = cancel;
    t->op = op;
    rl_task_push_sentinel(L);
    return lua_yield(L, 1);
}

int rl_task_park_firmly(lua_State *L, rl_task *t, rl_task_cancel_fn *hurry,
                        rl_task_cancel_fn *cancel, void *op)
{
    t->hurry = hurry;
    return rl_task_park(L, t, cancel, op);
}

void rl_task_wake(rl_task *t, int nresults)
{
    RL_CHECK(t->state == RL_TASK_PARKED);
    t->op = NULL;
    t->cancel = t->hurry = NULL;
    rl_task_queue(t, nresults);
}

void rl_task_wake_err(rl_task *t, const rl_err *err)
{
    rl_vm_enter(t->vm);
    rl_task_wake(t, rl_vm_push_failure(t->co, err));
    rl_vm_leave(t->vm);
}

/* Its next wait raises; the present one is stopped and raises now. */
static void stop_waiting(rl_task *t)
{
    rl_err err;

    if (t->state != RL_TASK_PARKED || t->vm->running == t)
        return;
    if (t->hurry) {
        t->hurry(t->op);
        return;
    }
    abandon_wait(t);
    why_not_wait(t, &err);
    rl_task_wake_err(t, &err);
}

void rl_task_cancel(rl_task *t)
{
    if ((t->cancelled && !t->shields) || t->state == RL_TASK_ENDED)
        return;
    t->cancelled = true;
    if (is_cancelled(t))
        stop_waiting(t);
}

void rl_task_interrupt(rl_task *t, bool tripped)
{
    t->interrupts++;
    t->trips += tripped;
    stop_waiting(t);
}

void rl_task_uninterrupt(rl_task *t, bool tripped)
{
    t->interrupts--;
    t->trips -= tripped;
}

void rl_task_shield(rl_task *t)
{
    t->shields++;
}

void rl_task_unshield(rl_task *t)
{
    t->shields--;
}

void rl_task_guard(rl_task *t, rl_guard *guard, void (*release)(rl_guard *guard, rl_task *t))
{
    guard->release = release;
    rl_list_init(&guard->link);
    rl_list_push(&t->guards, &guard->link);
}
