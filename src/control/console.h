/* console.h - a session of `rille shell` or `rille attach` on a worker: code that is run there.
 *
 * One thing at a time is asked (lua/rille/shell.lua answers it, as a task), and told once, from the
 * loop. The worker's thread has the question from the post there to the post back; an interruption
 * goes the same way, and cancels the task if it is still there. Main thread. */
#ifndef RL_CONTROL_CONSOLE_H
#define RL_CONTROL_CONSOLE_H

#include "host/workers.h"

typedef struct rl_console rl_console;

/* outcome is one of proto/control.h; output is borrowed for the call. */
typedef void rl_console_told(void *arg, char outcome, rl_str output);

rl_console *rl_console_open(rl_workers *ws, rl_loop *main, unsigned worker, rl_console_told *told,
                            void *arg);
/* what is static: "eval" or "complete". Not while another one is under way. */
void rl_console_ask(rl_console *c, const char *what, rl_str text);
void rl_console_interrupt(rl_console *c); /* what is under way, if anything is */
/* Nothing is told any more. Ends what is under way; the memory follows when the worker has let go
 * of it. NULL is fine. */
void rl_console_close(rl_console *c);

#endif
