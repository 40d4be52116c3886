/* console.h - a session of `rille shell` or `rille attach` on a worker: code that is run there.
 *
 * One thing at a time is asked (lua/rille/shell answers it, as a task), and told once, from the
 * loop; what it prints comes before that, as it is made. The worker's thread has the question from
 * the post there to the post back. An interruption goes the same way, and cancels the task if it is
 * still there; one that does not let go of its thread is ended by the watchdog. Main thread. */
#ifndef RL_CONTROL_CONSOLE_H
#define RL_CONTROL_CONSOLE_H

#include "host/workers.h"

/* Bytes that may be printed and not read; what goes beyond is left out, and its length told. */
#define RL_CONSOLE_ROOM (4 * 1024 * 1024)

typedef struct rl_console rl_console;

/* From the loop; what they are handed is borrowed for the call. */
typedef struct rl_console_events {
    void (*said)(void *arg, rl_str output); /* to be followed by rl_console_read() */
    /* The end: an outcome of proto/control.h, and what is left to say. */
    void (*told)(void *arg, char outcome, rl_str output);
} rl_console_events;

rl_console *rl_console_open(rl_workers *ws, rl_loop *main, unsigned worker,
                            const rl_console_events *events, void *arg);
/* what is static: "eval" or "complete". Not while another one is under way. */
void rl_console_ask(rl_console *c, const char *what, rl_str text);
void rl_console_interrupt(rl_console *c); /* what is under way, if anything is */
/* So many bytes of what was said have been read: there is room for more. */
void rl_console_read(rl_console *c, size_t n);
/* Nothing is told any more. Ends what is under way; the memory follows when the worker has let go
 * of it. NULL is fine. */
void rl_console_close(rl_console *c);

#endif
