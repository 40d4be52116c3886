#include "vm/waiters.h"

struct wait {
    rl_list link;
    rl_task *task;
};

static void cancel_wait(void *op)
{
    struct wait *wait = op;

    rl_list_remove(&wait->link);
    rl_free(wait);
}

int rl_waiters_park(rl_waiters *w, lua_State *L, rl_task *t)
{
    struct wait *wait = rl_malloc(sizeof(*wait));

    wait->task = t;
    rl_list_init(&wait->link);
    rl_list_push(&w->list, &wait->link);
    return rl_task_park(L, t, cancel_wait, wait);
}

void rl_waiters_wake(rl_waiters *w, const rl_err *err)
{
    RL_LIST_EACH (it, &w->list) {
        struct wait *wait = RL_LIST_ENTRY(it, struct wait, link);
        if (wait->task->vm->running == wait->task)
            continue; /* it left this wait by an error, and has yet to notice */
        rl_list_remove(it);
        if (err) {
            rl_task_wake_err(wait->task, err);
        } else {
            lua_pushboolean(rl_task_stack(wait->task), true);
            rl_task_wake(wait->task, 1);
        }
        rl_free(wait);
    }
}
