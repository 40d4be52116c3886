/* vm.h - one LuaJIT state: its memory budget, its collector, its task queue.
 *
 * One per worker, on the worker's thread, whose stack should be 64 MiB: on the usual 8 a
 * script can run the C stack over (LuaJIT does not count C recursion in string.gsub).
 *
 * Memory is counted. A script over the budget gets "not enough memory" in the handler that
 * asked, and the state lives on; what the core pushes between handlers is never refused.
 *
 * The collector runs in slices at the end of a turn, when the heap has grown by half since
 * its last cycle, or when it has a quiet moment; a handler that allocates without pause still
 * meets the automatic one. The script's finalizers run in either, where an error of theirs is
 * caught: never in between. */
#ifndef RL_VM_VM_H
#define RL_VM_VM_H

#include "base/buf.h"
#include "base/err.h"
#include "io/loop.h"
#include "vm/heap.h"
#include "vm/need.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

typedef struct rl_vm rl_vm;
typedef struct rl_task rl_task;

typedef struct rl_vm_opts {
    size_t memory_limit; /* bytes; default 512 MiB */
    bool gc_stress;      /* collect everything before each resume */
} rl_vm_opts;

struct rl_vm {
    lua_State *L; /* the main thread: for the core's own short, careful uses */
    rl_loop *loop;
    rl_task *running; /* NULL between handlers; the watchdog looks at it, too */
    rl_list ready;    /* tasks to be resumed, in order */
    rl_hook hook;
    rl_heap heap;
    size_t used, limit; /* bytes of Lua's heap, as it rounds them */
    size_t live;        /* of them, after the last cycle */
    size_t collect_at;  /* a cycle begins here */
    size_t net;         /* a script that gets so far in one go meets the automatic collector */
    bool net_open;
    unsigned exposed;       /* depth of rl_vm_enter() */
    bool scripting;         /* a script runs, protected: it may be refused memory */
    uint32_t slice;         /* odd while a script runs; each run has another (watchdog.h) */
    uint32_t condemned;     /* the slice that is to be interrupted; 0: none */
    struct rl_watch *watch; /* NULL: no limit on its CPU time */
    int collector;          /* registry reference */
    rl_list drafts;         /* buffers that a script's call is filling */
    bool refused;           /* memory, since the last cycle began */
    rl_need need;
    bool collecting;
    uv_timer_t quiet; /* since the last turn that allocated */
    bool gc_stress;
    bool merciless;      /* the end: shields of tasks count no more (task.h) */
    rl_task *spare[256]; /* finished tasks, coroutine and all, to be used again */
    unsigned nspare;
    unsigned ntasks; /* begun and not ended */
};

int rl_vm_init(rl_vm *vm, rl_loop *loop, const rl_vm_opts *opts, rl_err *err) RL_MUST_USE;
void rl_vm_limit(rl_vm *vm, size_t bytes); /* another memory_limit, while no script runs */
void rl_vm_fini(rl_vm *vm);                /* every task must have ended */

static inline rl_vm *rl_vm_of(lua_State *L)
{
    void *vm;

    lua_getallocf(L, &vm);
    return vm;
}

/* Call the function and nargs on top of vm->L, which may not suspend: loading a module, a
 * check at start. On failure the stack is as before and err holds the message; `trace`, if
 * given, gets it with its traceback. */
int rl_vm_call(rl_vm *vm, int nargs, int nresults, rl_buf *trace, rl_err *err) RL_MUST_USE;

/* The core's own calls of Lua's API, outside of any script's protection (another coroutine's
 * stack, the registry), are safe between events. While a script runs they stand between these
 * two, which nest: no memory is refused there and no finalizer runs, so nothing raises. */
void rl_vm_enter(rl_vm *vm);
void rl_vm_leave(rl_vm *vm);

/* luaL_ref() of what is on top, in the registry, likewise: if it is refused memory while the table
 * grows, LuaJIT has a larger array already, and what was to move there is lost. */
int rl_vm_ref(lua_State *L);

/* Around every protected call of a script, for task.c; from here to there it may be refused
 * memory, and is collected behind. */
void rl_vm_begin_script(rl_vm *vm);
void rl_vm_end_script(rl_vm *vm);
/* While a script runs: from here on it has the CPU time of another run. True: it was being
 * interrupted for what it has had, and is not any longer. */
bool rl_vm_renew_slice(rl_vm *vm);
/* The same without absolving, for where Lua's API may not be called: false, it is condemned. */
bool rl_vm_extend_slice(rl_vm *vm);
/* Is a script that asks for so many bytes more sure to get them? */
static inline bool rl_vm_has_room(const rl_vm *vm, size_t bytes)
{
    return vm->used + bytes <= vm->limit && !vm->need.injected;
}
void rl_vm_collect_all(rl_vm *vm);

/* A buffer for a function that Lua calls, which an error may leave at any push: one that was not
 * freed by then is freed when the script is next left. */
rl_buf *rl_vm_draft(rl_vm *vm);
void rl_vm_free_draft(rl_buf *draft);

/* What a Lua error value says, without running any Lua: strings as they are, rille's error
 * objects as "Class: message". */
void rl_vm_describe(lua_State *L, int index, rl_buf *out);
/* The same of the error on top of a failed coroutine, with its traceback. Its stack may have run
 * over: nothing is pushed there. */
void rl_vm_describe_failure(lua_State *co, rl_buf *out);

/* Push *err as an instance of its class in rille.errors. */
void rl_vm_push_err(lua_State *L, const rl_err *err);
/* nil and the error, for a wrapper in Lua to raise: 2. */
int rl_vm_push_failure(lua_State *L, const rl_err *err);
/* Raise it here. */
RL_NORETURN void rl_vm_raise(lua_State *L, const rl_err *err);

#endif
