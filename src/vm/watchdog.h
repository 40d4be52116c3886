/* watchdog.h - a limit on the CPU time that a script may take in one go.
 *
 * One thread for the whole process watches the vm of every worker. A slice is a script's time from
 * one wait to the next; it costs the worker two additions to a counter and reads no clock. The
 * watchdog samples the counters, and the CPU clock of a thread whose slice has not changed: CPU
 * time, so that a busy machine ends nobody's innocent slice. One that is over the limit gets an
 * error raised at whatever it does: its handler fails like any other, with a traceback of where it
 * was, and the worker goes on.
 *
 * An error can be caught. The first comes alone, so that what it passes can tidy up and say where
 * it was; the next, a few thousand instructions later, comes at every instruction until the slice
 * has ended: `while true do pcall(forever) end` ends, too. A hook that the script had set is there
 * again when it is over.
 *
 * What cannot be interrupted: a function of C that does not return (a pattern with much to
 * backtrack, string.rep of a gigabyte), and code inside which LuaJIT runs no hooks: a finalizer
 * (__gc), and the message handler of an xpcall that catches the interruption. These are told in
 * the log once, and end when they end.
 *
 * How: LuaJIT runs hooks in interpreted code only, unless traces were compiled for its profiler
 * (mode "l"), which makes them look for a flag at every line of the source. So the watchdog owns
 * the profiler, which there is once in a process; a script's `jit.profile` does nothing. A vm that
 * is to be interrupted becomes the profiler's for that time, and a signal to its thread sets hook
 * and flag there: from another thread, neither may be touched. Tight numeric loops over arrays are
 * slower under mode "l" by up to several times, other code by a few percent; without a limit a vm
 * is not watched and pays nothing. One vm is interrupted at a time: while one is deaf in C, loops
 * of another that are compiled wait for it.
 *
 * SIGPROF and SIGUSR2 belong to the watchdog. */
#ifndef RL_VM_WATCHDOG_H
#define RL_VM_WATCHDOG_H

#include "vm/vm.h"

#define RL_HANDLER_CPU_LIMIT 1.0  /* seconds; the default */
#define RL_TEST_CPU_LIMIT    10.0 /* likewise, of a test: for slow machines and slow builds */

/* seconds > 0: watch vm, whose thread is the calling one; setting is what the error calls the
 * limit, and lives as long. 0: no longer. May be called again to change it, while no script runs;
 * 0 must be said before rl_vm_fini(). When the watchdog cannot start, nothing is watched, and the
 * log says so. */
void rl_watchdog_watch(rl_vm *vm, double seconds, const char *setting);

/* Another limit for a vm that is watched, at any time, on its thread; 0: none. */
void rl_watchdog_limit(rl_vm *vm, double seconds);

/* From any thread: if t runs, its present slice ends as one does that is over the limit. A vm that
 * is not watched is not interrupted. t must be one of vm's tasks, or one that was. */
void rl_watchdog_interrupt(rl_vm *vm, const rl_task *t);

/* For vm.c, when a slice has ended that was to be interrupted. */
void rl_watchdog_absolve(rl_vm *vm);

#endif
