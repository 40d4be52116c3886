/* prompt.h - lines of whoever types, or of a file.
 *
 * On a terminal with editing, history and completion if libedit was there when rille was built
 * (without it the terminal's own means must do); elsewhere line by line, without a prompt. */
#ifndef RL_CONTROL_PROMPT_H
#define RL_CONTROL_PROMPT_H

#include "base/buf.h"

typedef struct rl_prompt rl_prompt;

/* Words that may stand for the last one of `before`, a line each. */
typedef void rl_prompt_complete_fn(void *arg, rl_str before, rl_buf *words);

typedef enum rl_prompt_event {
    RL_PROMPT_LINE, /* without its newline */
    RL_PROMPT_END,
    RL_PROMPT_GIVEN_UP, /* Ctrl-C */
} rl_prompt_event;

rl_prompt *rl_prompt_open(rl_prompt_complete_fn *complete, void *arg);
void rl_prompt_close(rl_prompt *p); /* keeps the history for the next time */

bool rl_prompt_is_shown(const rl_prompt *p); /* somebody is typing */
rl_prompt_event rl_prompt_read(rl_prompt *p, const char *prompt, rl_buf *line);

/* While one is open: has Ctrl-C been hit since this was last asked? It ends a wait with EINTR.
 * Other threads should not be told of it (SIGINT). */
bool rl_prompt_interrupted(void);

#endif
