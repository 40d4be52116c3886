/* queue.h - messages between threads: many may push, one takes all.
 *
 * Intrusive and first in, first out. Pushing says whether the queue was empty, which
 * is when the taker needs to be woken: many pushes, one wake-up. */
#ifndef RL_BASE_QUEUE_H
#define RL_BASE_QUEUE_H

#include "base/list.h"

#include <pthread.h>

typedef struct rl_queue {
    pthread_mutex_t lock;
    rl_list items; /* guarded by lock */
} rl_queue;

void rl_queue_init(rl_queue *q);
void rl_queue_fini(rl_queue *q);                /* must be empty */
bool rl_queue_push(rl_queue *q, rl_list *node); /* true: it was empty, wake the taker */
void rl_queue_take(rl_queue *q, rl_list *out);  /* all of it; out is initialised here */

#endif
