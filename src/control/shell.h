/* shell.h - `rille shell`: a prompt of its own for a process that serves nothing else.
 *
 * Whoever types has a thread, which talks to the control socket's server (control/control.h) as
 * `rille attach` does, through a pair of sockets. SIGINT is that thread's alone. Main thread. */
#ifndef RL_CONTROL_SHELL_H
#define RL_CONTROL_SHELL_H

#include "control/control.h"

typedef struct rl_shell {
    uv_thread_t thread;
    int fd; /* the prompt's end */
    rl_loop *main;
    rl_post post;
    void (*left)(void *arg, int status);
    void *arg;
    int status;
    atomic_bool ended;
    bool open, closing;
} rl_shell;

/* Before any thread is started: what Ctrl-C sends is for nobody but the prompt. */
void rl_shell_prepare(void);

/* left comes from the loop, once: nobody types any more. */
int rl_shell_open(rl_shell *s, rl_loop *main, rl_control *control,
                  void (*left)(void *arg, int status), void *arg, rl_err *err) RL_MUST_USE;
/* After rl_control_close(), so that the prompt ends whatever it is doing. Fine if it was not
 * opened; the memory must outlast the loop. */
void rl_shell_close(rl_shell *s);

#endif
