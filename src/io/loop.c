#include "io/loop.h"

#include "base/log.h"

#include <stdlib.h>

/* A hook may wake another that stands before it (a flushed pipeline resumes a task), so
 * they run until all are quiet. The bound keeps a task that never waits for anything
 * real (asleep(0) in a loop) from starving the sockets: what is left runs next turn. */
enum { ROUNDS_PER_TURN = 8 };

static void run_hooks(rl_loop *loop)
{
    bool busy = true;

    for (int round = 0; busy && round < ROUNDS_PER_TURN; round++) {
        busy = loop->kicked = false;
        RL_LIST_EACH (it, &loop->hooks)
            busy |= RL_LIST_ENTRY(it, rl_hook, link)->fn(RL_LIST_ENTRY(it, rl_hook, link));
    }
    if (busy)
        rl_loop_kick(loop);
    else if (!loop->kicked && uv_is_active((uv_handle_t *)&loop->spin))
        uv_idle_stop(&loop->spin);
}

/* libuv reads its clock before a turn's timers and behind its wait for sockets anyway: what lies
 * between is what everybody else had to wait for. */
static void on_prepare(uv_prepare_t *h)
{
    rl_loop *loop = RL_CONTAINER_OF(h, rl_loop, prepare);
    uint64_t took = rl_loop_now(loop) - loop->polled;

    loop->turns++;
    if (RL_UNLIKELY(took && loop->polled))
        rl_histogram_add(&loop->stalls, took * 1000);
    run_hooks(loop);
}

static void on_check(uv_check_t *h)
{
    rl_loop *loop = RL_CONTAINER_OF(h, rl_loop, check);

    loop->polled = rl_loop_now(loop);
    run_hooks(loop);
}

static void on_spin(uv_idle_t *h)
{
    (void)h;
}

static void run_posts(rl_loop *loop)
{
    rl_list posts, *it;

    rl_queue_take(&loop->posts, &posts);
    while ((it = rl_list_pop(&posts))) {
        rl_post *post = RL_LIST_ENTRY(it, rl_post, link);
        post->fn(post);
    }
}

static void on_wake(uv_async_t *h)
{
    run_posts(RL_CONTAINER_OF(h, rl_loop, wake));
}

int rl_loop_init(rl_loop *loop)
{
    int rc = uv_loop_init(&loop->uv);
    if (rc < 0)
        return rc;
    rc = uv_async_init(&loop->uv, &loop->wake, on_wake);
    if (rc < 0) {
        uv_loop_close(&loop->uv);
        return rc;
    }
    uv_prepare_init(&loop->uv, &loop->prepare);
    uv_check_init(&loop->uv, &loop->check);
    uv_idle_init(&loop->uv, &loop->spin);
    uv_prepare_start(&loop->prepare, on_prepare);
    uv_check_start(&loop->check, on_check);
    rl_queue_init(&loop->posts);
    rl_list_init(&loop->hooks);
    loop->posting_closed = false;
    loop->counters = (rl_counters){0};
    loop->polled = loop->turns = 0;
    loop->stalls = (rl_histogram){0};
    loop->recv = rl_malloc(RL_LOOP_RECV_SIZE);
    return 0;
}

static void name_open_handle(uv_handle_t *h, void *arg)
{
    (void)arg;
    rl_error("loop: a %s handle is still open", uv_handle_type_name(h->type));
}

void rl_loop_fini(rl_loop *loop)
{
    pthread_mutex_lock(&loop->posts.lock);
    loop->posting_closed = true;
    pthread_mutex_unlock(&loop->posts.lock);
    run_posts(loop);

    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->check, NULL);
    uv_close((uv_handle_t *)&loop->spin, NULL);
    uv_close((uv_handle_t *)&loop->wake, NULL);
    uv_run(&loop->uv, UV_RUN_NOWAIT);
    while (uv_loop_alive(&loop->uv) && uv_run(&loop->uv, UV_RUN_ONCE))
        ;
    if (uv_loop_close(&loop->uv) == UV_EBUSY) {
        uv_walk(&loop->uv, name_open_handle, NULL);
        RL_CHECK(!"a handle outlived its loop");
    }
    /* The queue stays, closed, for posts that come too late. */
    rl_free(loop->recv);
}

void rl_loop_run(rl_loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void rl_loop_stop(rl_loop *loop)
{
    uv_stop(&loop->uv);
}

void rl_loop_add_hook(rl_loop *loop, rl_phase phase, rl_hook *hook, rl_hook_fn *fn)
{
    rl_list *at = &loop->hooks;

    hook->fn = fn;
    hook->phase = phase;
    rl_list_init(&hook->link);
    while (at->prev != &loop->hooks && RL_LIST_ENTRY(at->prev, rl_hook, link)->phase > phase)
        at = at->prev;
    rl_list_insert_before(at, &hook->link);
}

void rl_loop_remove_hook(rl_hook *hook)
{
    rl_list_remove(&hook->link);
}

void rl_loop_kick(rl_loop *loop)
{
    loop->kicked = true;
    uv_idle_start(&loop->spin, on_spin);
}

/* Time that passes at once. The loop's own clock is libuv's to read, so that what is put forward is
 * what hangs on it: every timer comes nearer. */

struct timers {
    uv_timer_t **list;
    size_t n, room;
};

static void add_timer(uv_handle_t *h, void *arg)
{
    struct timers *all = arg;

    if (h->type != UV_TIMER || !uv_is_active(h))
        return;
    if (all->n == all->room) {
        all->room = all->room ? 2 * all->room : 64;
        all->list = rl_realloc(all->list, all->room * sizeof(uv_timer_t *));
    }
    all->list[all->n++] = (uv_timer_t *)h;
}

static struct timers timers_of(rl_loop *loop)
{
    struct timers all = {0};

    uv_update_time(&loop->uv);
    uv_walk(&loop->uv, add_timer, &all);
    return all;
}

static int by_time(const void *a, const void *b)
{
    uint64_t x = uv_timer_get_due_in(*(uv_timer_t *const *)a);
    uint64_t y = uv_timer_get_due_in(*(uv_timer_t *const *)b);

    return (x > y) - (x < y);
}

void rl_loop_advance(rl_loop *loop, uint64_t ms)
{
    struct timers all = timers_of(loop);

    if (all.n)
        qsort(all.list, all.n, sizeof(*all.list), by_time);
    rl_clock_ahead += ms;
    for (size_t i = 0; i < all.n; i++) {
        uv_timer_t *t = all.list[i];
        uint64_t left = uv_timer_get_due_in(t);
        uv_timer_start(t, t->timer_cb, left > ms ? left - ms : 0, uv_timer_get_repeat(t));
    }
    rl_free(all.list);
}

uint64_t rl_loop_next_timer(rl_loop *loop)
{
    struct timers all = timers_of(loop);
    uint64_t next = UINT64_MAX;

    for (size_t i = 0; i < all.n; i++)
        if (uv_timer_get_due_in(all.list[i]) < next)
            next = uv_timer_get_due_in(all.list[i]);
    rl_free(all.list);
    return next;
}

bool rl_loop_post(rl_loop *loop, rl_post *post)
{
    pthread_mutex_lock(&loop->posts.lock);
    bool open = !loop->posting_closed, was_empty = rl_list_empty(&loop->posts.items);
    if (open) {
        rl_list_init(&post->link);
        rl_list_push(&loop->posts.items, &post->link);
    }
    pthread_mutex_unlock(&loop->posts.lock);
    if (open && was_empty)
        uv_async_send(&loop->wake);
    return open;
}
