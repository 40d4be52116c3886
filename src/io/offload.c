#include "io/offload.h"

#include "base/thread.h"

#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    MOST_THREADS = 4,
    STACK_BYTES = 256 * 1024,
    YIELDING = 5, /* nice: loops that have something to do come first */
};

struct rl_offload {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    rl_list waiting; /* guarded by lock */
    bool closing;    /* guarded by lock */
    pthread_t threads[MOST_THREADS];
    unsigned nthreads;
};

static void on_done(rl_post *post)
{
    rl_work *w = RL_CONTAINER_OF(post, rl_work, post);

    w->done(w);
}

/* The next piece of work; NULL at the end. */
static rl_work *take(rl_offload *o)
{
    pthread_mutex_lock(&o->lock);
    while (rl_list_empty(&o->waiting) && !o->closing)
        pthread_cond_wait(&o->changed, &o->lock);
    rl_list *it = rl_list_pop(&o->waiting);
    pthread_mutex_unlock(&o->lock);
    return it ? RL_LIST_ENTRY(it, rl_work, link) : NULL;
}

static void *thread_main(void *arg)
{
    rl_offload *o = arg;
    rl_work *w;

    setpriority(PRIO_PROCESS, (id_t)gettid(), YIELDING); /* on Linux, of this thread */
    while ((w = take(o))) {
        w->fn(w);
        w->post.fn = on_done;
        RL_CHECK(rl_loop_post(w->loop, &w->post));
    }
    return NULL;
}

int rl_offload_open(rl_offload **out, rl_err *err)
{
    rl_offload *o = rl_calloc(1, sizeof(*o));
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned wanted = cores < 1 ? 1 : cores < MOST_THREADS ? (unsigned)cores : MOST_THREADS;

    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->changed, NULL);
    rl_list_init(&o->waiting);
    for (; o->nthreads < wanted; o->nthreads++) {
        int rc = rl_thread_start(&o->threads[o->nthreads], STACK_BYTES, thread_main, o);
        if (rc) {
            rl_offload_close(o);
            return rl_err_set(err, -rc, "no thread: %s", strerror(rc));
        }
    }
    *out = o;
    return 0;
}

void rl_offload_close(rl_offload *o)
{
    if (!o)
        return;
    pthread_mutex_lock(&o->lock);
    RL_CHECK(rl_list_empty(&o->waiting));
    o->closing = true;
    pthread_cond_broadcast(&o->changed);
    pthread_mutex_unlock(&o->lock);
    while (o->nthreads)
        pthread_join(o->threads[--o->nthreads], NULL);
    pthread_cond_destroy(&o->changed);
    pthread_mutex_destroy(&o->lock);
    rl_free(o);
}

void rl_offload_do(rl_offload *o, rl_work *w)
{
    rl_list_init(&w->link);
    pthread_mutex_lock(&o->lock);
    rl_list_push(&o->waiting, &w->link);
    pthread_cond_signal(&o->changed);
    pthread_mutex_unlock(&o->lock);
}
