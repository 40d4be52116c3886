/* crew.c - the kernel spreads connections by chance, which is even only for many. Whoever accepts
 * one and has clearly more than another hands it on. */
#include "core/crew.h"

#include "core/worker.h"

#include <unistd.h>

enum {
    SLACK = 2,          /* so many more than the least loaded are no reason */
    MOST_ARRIVING = 64, /* that a worker has not taken up: it is busy with something else */
};

struct handover {
    rl_post post;
    rl_worker *to;
    int fd;
    rl_bound from;
};

static unsigned load_of(rl_worker *w)
{
    return atomic_load_explicit(&w->conns.tally.here, memory_order_relaxed) +
           atomic_load_explicit(&w->arriving, memory_order_relaxed);
}

static rl_worker *lightest(rl_worker *w)
{
    unsigned n = atomic_load_explicit(&w->crew->count, memory_order_acquire);
    unsigned mine = load_of(w), least = mine;
    rl_worker *best = w;

    for (unsigned i = 0; i < n; i++) {
        rl_worker *other = w->crew->workers[i];
        unsigned load = load_of(other);
        if (load < least &&
            atomic_load_explicit(&other->arriving, memory_order_relaxed) < MOST_ARRIVING) {
            least = load;
            best = other;
        }
    }
    return mine > least + SLACK + least / 16 ? best : w;
}

static void on_handover(rl_post *post)
{
    struct handover *h = RL_CONTAINER_OF(post, struct handover, post);

    atomic_fetch_sub_explicit(&h->to->arriving, 1, memory_order_relaxed);
    if (h->to->draining)
        close(h->fd);
    else
        rl_server_accept(&h->to->server, h->fd, &h->from);
    rl_free(h);
}

void rl_crew_accept(rl_worker *w, int fd, const rl_bound *from)
{
    rl_worker *to = lightest(w);

    if (to != w) {
        struct handover *h = rl_malloc(sizeof(*h));
        *h = (struct handover){.post = {.fn = on_handover}, .to = to, .fd = fd, .from = *from};
        atomic_fetch_add_explicit(&to->arriving, 1, memory_order_relaxed);
        if (rl_loop_post(&to->loop, &h->post))
            return;
        atomic_fetch_sub_explicit(&to->arriving, 1, memory_order_relaxed);
        rl_free(h);
    }
    rl_server_accept(&w->server, fd, from);
}
