/* timeout.h - many deadlines of the same length: a list and one timer.
 *
 * Entries of one duration fall due in the order they were started, so a first in, first out
 * list serves them with no heap: starting, stopping and restarting cost a few pointers. */
#ifndef RL_IO_TIMEOUT_H
#define RL_IO_TIMEOUT_H

#include "io/loop.h"

typedef struct rl_timeout {
    rl_list link; /* alone: not started */
    uint64_t due; /* ms on the loop's clock */
} rl_timeout;

typedef void rl_timeout_fn(rl_timeout *t); /* t is stopped by then; restarting it is fine */

typedef struct rl_timeouts {
    uv_timer_t timer;
    rl_list waiting;
    uint64_t after; /* ms */
    rl_timeout_fn *fn;
} rl_timeouts;

void rl_timeouts_open(rl_timeouts *ts, rl_loop *loop, uint64_t after_ms, rl_timeout_fn *fn);
void rl_timeouts_close(rl_timeouts *ts); /* the memory must last until the loop turned */

/* On the heap: its memory goes when the loop has turned. */
rl_timeouts *rl_timeouts_new(rl_loop *loop, uint64_t after_ms, rl_timeout_fn *fn);
void rl_timeouts_free(rl_timeouts *ts);

void rl_timeout_init(rl_timeout *t);
void rl_timeout_start(rl_timeouts *ts, rl_timeout *t); /* restarts one that is running */
void rl_timeout_stop(rl_timeout *t);
static inline bool rl_timeout_is_running(const rl_timeout *t)
{
    return !rl_list_alone(&t->link);
}

#endif
