/* task.h - a Lua coroutine that the loop may suspend and resume.
 *
 * A task is READY (queued), RUNNING (at most one), PARKED (waiting for exactly one operation) or
 * ended. A C function that has to wait starts its operation and returns rl_task_park(); the
 * operation's callback pushes results onto rl_task_stack() and calls rl_task_wake(). Waking only
 * queues: Lua runs from the loop, never inside somebody's callback.
 *
 * Coroutines are taken from a pool when a task begins and given back when its function has
 * returned; one that raised cannot be used again and is dropped.
 *
 * Waiting inside a coroutine of the script's own works: the wait is passed out through every
 * resume (lua/rille/coroutine.lua) as a yield of one private value, and its results passed in
 * again. So the coroutine that parks need not be the task's own. */
#ifndef RL_VM_TASK_H
#define RL_VM_TASK_H

#include "vm/vm.h"

enum rl_task_state { RL_TASK_NEW, RL_TASK_READY, RL_TASK_RUNNING, RL_TASK_PARKED, RL_TASK_ENDED };

/* Stop the operation a parked task waits for. It must not wake the task. */
typedef void rl_task_cancel_fn(void *op);

/* The task ended. `failed`: the error is on top of co, whose stack is still as it was when the
 * error was raised; otherwise co holds the results. The task is gone when this returns. */
typedef void rl_task_ended_fn(rl_task *t, void *arg, lua_State *co, bool failed);

/* Something that must be put right however the task ends (a leased connection). Runs after the
 * script's last instruction and before rl_task_ended_fn. */
typedef struct rl_guard {
    rl_list link;
    void (*release)(struct rl_guard *guard, rl_task *t);
} rl_guard;

struct rl_task {
    rl_vm *vm;
    lua_State *co;
    int ref; /* anchors co in the registry */
    enum rl_task_state state;
    bool cancelled;      /* sticky: every wait raises from now on */
    unsigned interrupts; /* deadlines that have passed: waits raise until they are taken back */
    unsigned trips;      /* of them, those that are scopes that were cancelled */
    unsigned shields;    /* while there are any, it does not notice that it was cancelled */
    int nresume;         /* values on co to resume with */
    rl_list link;        /* on vm.ready, or alone */
    rl_task_cancel_fn *cancel;
    rl_task_cancel_fn *hurry; /* of a wait that is not given up; else NULL */
    void *op;
    rl_task_ended_fn *ended;
    void *arg;
    rl_list guards;
    rl_list owned;            /* on its owner's list of tasks, or alone */
    double owner;             /* the consumer it runs for, by its number, or 0 */
    uint64_t began, measured; /* an event's, for core/route.h */
    unsigned retirements;     /* an event's, for core/retired.h */
    int local; /* registry reference of the task's own table (task.own), or LUA_NOREF */
};

/* Begin: push a function and its arguments on rl_task_stack(), then start or queue it. */
rl_task *rl_task_new(rl_vm *vm, rl_task_ended_fn *ended, void *arg);
static inline lua_State *rl_task_stack(rl_task *t)
{
    return t->co;
}
/* Run until it waits or ends. Only from the loop: when a task is running, it is queued. */
void rl_task_start(rl_task *t, int nargs);
void rl_task_queue(rl_task *t, int nargs); /* run it at the end of the turn */

/* The running task's function goes on with another event of its owner's: as if it had ended and
 * begun again, and with the CPU time of another run. False: it has to end, since it leaves
 * something behind that is seen to then, or should be looked at between two events. */
bool rl_task_renew(rl_task *t);

/* Every function that parks calls this among its checks, before it starts anything: it is the
 * last thing that may raise. Raises when there is no task, when the task was cancelled, and
 * where LuaJIT cannot suspend (table.sort, string.gsub, require). */
rl_task *rl_task_current(lua_State *L);

/* Would it raise nothing, asked of the coroutine that runs in this task? */
bool rl_task_may_wait(const rl_task *t);

/* The same question without raising: the running task, or NULL. */
static inline rl_task *rl_task_running(lua_State *L)
{
    return rl_vm_of(L)->running;
}

/* return rl_task_park(…) from the C function. cancel is called at most once. */
int rl_task_park(lua_State *L, rl_task *t, rl_task_cancel_fn *cancel, void *op);
/* Likewise, for what must not be left half known (a COMMIT): a cancel or a deadline calls hurry,
 * any number of times, and the wait goes on to its result; the waits behind it raise. */
int rl_task_park_firmly(lua_State *L, rl_task *t, rl_task_cancel_fn *hurry,
                        rl_task_cancel_fn *cancel, void *op);
void rl_task_wake(rl_task *t, int nresults);
void rl_task_wake_err(rl_task *t, const rl_err *err); /* nil and the error */

/* The task's next (or present) wait raises rille.Cancelled, and so does every later one. */
void rl_task_cancel(rl_task *t);

/* A deadline: the task's present and later waits raise rille.Timeout until it is taken back; or
 * rille.Cancelled, when it is a scope that was cancelled (tripped). */
void rl_task_interrupt(rl_task *t, bool tripped);
void rl_task_uninterrupt(rl_task *t, bool tripped);
/* Its waits raise no more because it was cancelled, until that is taken back; unless the vm is
 * merciless. Whose deadlines are whose is for the caller to count. */
void rl_task_shield(rl_task *t);
void rl_task_unshield(rl_task *t);

void rl_task_guard(rl_task *t, rl_guard *guard, void (*release)(rl_guard *guard, rl_task *t));
static inline void rl_task_unguard(rl_guard *guard)
{
    rl_list_remove(&guard->link);
}

/* For vm.c. */
bool rl_task_run_ready(rl_vm *vm);
void rl_task_free_spares(rl_vm *vm);

/* The private value that marks a yield as a wait; coroutine.lua compares with it. */
void rl_task_push_sentinel(lua_State *L);

#endif
