#include "base/queue.h"

void rl_queue_init(rl_queue *q)
{
    pthread_mutex_init(&q->lock, NULL);
    rl_list_init(&q->items);
}

void rl_queue_fini(rl_queue *q)
{
    RL_CHECK(rl_list_empty(&q->items));
    pthread_mutex_destroy(&q->lock);
}

bool rl_queue_push(rl_queue *q, rl_list *node)
{
    pthread_mutex_lock(&q->lock);
    bool was_empty = rl_list_empty(&q->items);
    rl_list_push(&q->items, node);
    pthread_mutex_unlock(&q->lock);
    return was_empty;
}

void rl_queue_take(rl_queue *q, rl_list *out)
{
    rl_list_init(out);
    pthread_mutex_lock(&q->lock);
    rl_list_take(out, &q->items);
    pthread_mutex_unlock(&q->lock);
}
