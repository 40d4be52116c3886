/* Two parties know a cancel: its thread and its connection. Under the lock, whichever ends
 * later frees it; the loop is posted to only while the connection is there, so that a thread
 * that hangs in a dead network can be left behind. */
#include "db/pg.h"

#include "base/thread.h"

struct rl_pg_cancel {
    rl_post post;
    PGcancel *request;
    pthread_mutex_t lock;
    rl_loop *loop;          /* guarded; NULL once forgotten */
    rl_pg_cancelled_fn *fn; /* the loop's; NULL once forgotten */
    void *arg;
};

enum { STACK_SIZE = 256 * 1024 };

static void cancel_free(rl_pg_cancel *c)
{
    PQfreeCancel(c->request);
    pthread_mutex_destroy(&c->lock);
    rl_free(c);
}

static void on_posted(rl_post *post)
{
    rl_pg_cancel *c = RL_CONTAINER_OF(post, rl_pg_cancel, post);
    rl_pg_cancelled_fn *fn = c->fn;
    void *arg = c->arg;

    /* The thread may still be letting go of the lock. */
    pthread_mutex_lock(&c->lock);
    pthread_mutex_unlock(&c->lock);
    cancel_free(c);
    if (fn)
        fn(arg);
}

static void *thread_main(void *arg)
{
    rl_pg_cancel *c = arg;
    char unused[256];

    PQcancel(c->request, unused, sizeof(unused));
    pthread_mutex_lock(&c->lock);
    bool forgotten = !c->loop || !rl_loop_post(c->loop, &c->post);
    pthread_mutex_unlock(&c->lock);
    if (forgotten)
        cancel_free(c);
    return NULL;
}

rl_pg_cancel *rl_pg_cancel_new(PGconn *pg, rl_loop *loop, rl_pg_cancelled_fn *fn, void *arg)
{
    rl_pg_cancel *c = rl_calloc(1, sizeof(*c));

    *c = (rl_pg_cancel){.request = PQgetCancel(pg), .loop = loop, .fn = fn, .arg = arg};
    c->post.fn = on_posted;
    pthread_mutex_init(&c->lock, NULL);
    if (c->request && rl_thread_start(NULL, STACK_SIZE, thread_main, c) == 0)
        return c;
    cancel_free(c);
    return NULL;
}

void rl_pg_cancel_forget(rl_pg_cancel *c)
{
    c->fn = NULL;
    pthread_mutex_lock(&c->lock);
    c->loop = NULL;
    pthread_mutex_unlock(&c->lock);
}
