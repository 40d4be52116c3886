/* line.h - channels that a whole process receives from: what is sent to one waits in line, for
 * whoever of the takers, on any worker, has time first. Each message goes to one of them.
 *
 * A line is found by its name, and there as long as anybody holds it. All of it is for any thread at
 * any time, behind one lock per process: this is for jobs, not for chatter. */
#ifndef RL_LAYER_LINE_H
#define RL_LAYER_LINE_H

#include "base/buf.h"
#include "io/loop.h"

typedef struct rl_lines rl_lines;
typedef struct rl_line rl_line;
typedef struct rl_taker rl_taker;

/* A message in line. */
typedef struct rl_job {
    rl_list link;
    unsigned attempt; /* how often it was tried before */
    size_t n;
    char body[];
} rl_job;

rl_lines *rl_lines_new(void);
void rl_lines_free(rl_lines *ls); /* every line was released */

/* Takes its last jobs along when nobody holds it any more; how many, is returned. */
rl_line *rl_line_hold(rl_lines *ls, rl_str name);
unsigned rl_line_release(rl_line *line);

/* Of the latest holder who said so. */
void rl_line_configure(rl_line *line, unsigned capacity, bool drop_oldest);

typedef enum rl_put { RL_PUT_IN, RL_PUT_DROPPED_OLDEST, RL_PUT_REFUSED } rl_put;

/* At the end; or, with first, in front and whether there is room or not. */
rl_put rl_line_put(rl_line *line, rl_str body, unsigned attempt, bool first);
unsigned rl_line_count(rl_line *line);

/* The next one, the caller's to free; or NULL, and fn is called once, on that loop, when it is worth
 * looking again, unless the taker is forgotten before. */
typedef void rl_taker_fn(void *arg);
rl_job *rl_line_take(rl_line *line, rl_loop *loop, rl_taker_fn *fn, void *arg, rl_taker **taker);
void rl_taker_forget(rl_taker *taker);

#endif
