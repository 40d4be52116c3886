/* need.h - a script that asks for more memory than there is for it.
 *
 * It gets "not enough memory" where it asked, and the state is to live on as if nothing had been.
 * LuaJIT alone does not see to that. What is done about it here:
 *
 * - A closure is made in two steps, itself and one block for each variable that it closes over. If
 *   one of these is refused, LuaJIT gives the closure back later with the size of one that closes
 *   over nothing (lj_func.c, in every version so far): bytes would be missing, and a heap that goes
 *   by the size would take a block for another. So a closure that was granted gets the rest, too.
 * - Compiled code has its own idea of where the frame is, which the function that throws the error
 *   does not ask for (lj_err_mem, until June 2023): it takes another slot of the stack for the
 *   frame's function, and the process crashes. So the coroutine is told first.
 * - A function whose variables do not fit into the stack, which cannot grow, is in its frame
 *   already: the message would be written behind all of its variables, outside of the stack
 *   (lj_err_mem, until February 2024). So the frame is made one that has none.
 * - The compiler that is refused something gives up, and the script goes on. Only while it ends a
 *   trace at a call of a function of C, for another to go on behind it, it has moved that call's
 *   frame, and leaves it there (recff_stitch in lj_ffrecord.c, until August 2026): the process
 *   crashes. So the compiler is refused nothing, as long as it wants no more than it ever should.
 * - The library `ffi`, refused something while it is being loaded, leaves a part of itself over
 *   which lua_close() stumbles. While it loads, nothing is refused (vm.c).
 *
 * spec/c/test_need.c refuses what scripts ask for, block by block; spec/server/need_spec.lua does
 * it to the library. */
#ifndef RL_VM_NEED_H
#define RL_VM_NEED_H

#include "base/base.h"

#include <lua.h>

typedef struct rl_need {
    void **running;    /* LuaJIT's notes: the coroutine, and the frame if its code is compiled */
    const int *state;  /* and what is under way: see rl_need_compiles() */
    uint64_t tag;      /* of a coroutine in a slot of the stack, beside its address */
    uint32_t owed;     /* blocks for the closure that was granted last */
    bool tested;       /* a byte that is lost aborts the process */
    uint64_t injected; /* for tests: so many are refused, */
    uint64_t after;    /* once so many were granted */
} rl_need;

/* L is a main thread that runs, protected. False: this LuaJIT is not laid out as we know it. */
bool rl_need_init(rl_need *need, lua_State *L) RL_MUST_USE;

/* Whether LuaJIT compiles, or runs an instruction of the script that it is about to compile. */
static inline bool rl_need_compiles(const rl_need *need)
{
    enum { RECORDS = -5 }; /* ~LJ_VMST_RECORD; behind it come OPT and ASM */

    return RL_UNLIKELY(*need->state <= RECORDS);
}

/* The coroutine that runs, for where nobody says so. */
static inline lua_State *rl_need_running(const rl_need *need)
{
    return need->running[0];
}

/* Whether LuaJIT has to get this block, since it is part of what it got already. To be asked of
 * every block that a script wants; p is what is to grow, or NULL. */
bool rl_need_is_owed(rl_need *need, const void *p, size_t size);

/* To be called before a script is refused a block, when nothing but the error can follow; p is what
 * was to grow, or NULL. */
void rl_need_brace(rl_need *need, const void *p);

/* For tests: of what scripts ask for from now, so many blocks are granted, and then so many are
 * not. */
static inline void rl_need_inject(rl_need *need, uint64_t after, uint64_t refusals)
{
    need->tested = true;
    need->after = after;
    need->injected = refusals;
}

/* Whether a test wants this one refused. */
static inline bool rl_need_injects(rl_need *need)
{
    if (RL_LIKELY(!need->injected))
        return false;
    if (need->after) {
        need->after--;
        return false;
    }
    need->injected--;
    return true;
}

#endif
