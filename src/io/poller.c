#include "io/poller.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    BATCH = 512,
    BATCHES_PER_TURN = 4, /* then timers and hooks get a look in; epoll keeps the rest */
};

static uint32_t to_epoll(unsigned events)
{
    return (events & RL_POLL_READ ? (uint32_t)EPOLLIN : 0) |
           (events & RL_POLL_WRITE ? (uint32_t)EPOLLOUT : 0) |
           (events & RL_POLL_HUP ? (uint32_t)EPOLLRDHUP : 0);
}

/* An error is told as everything at once: whoever reads or writes next meets it. */
static unsigned from_epoll(uint32_t events)
{
    if (events & (EPOLLERR | EPOLLHUP))
        return RL_POLL_READ | RL_POLL_WRITE | RL_POLL_HUP;
    return (events & EPOLLIN ? RL_POLL_READ : 0) | (events & EPOLLOUT ? RL_POLL_WRITE : 0) |
           (events & EPOLLRDHUP ? RL_POLL_HUP : 0);
}

static void on_ready(uv_poll_t *handle, int status, int uv_events)
{
    rl_poller *p = RL_CONTAINER_OF(handle, rl_poller, handle);
    struct epoll_event batch[BATCH];
    int n = BATCH;

    for (int i = 0; i < BATCHES_PER_TURN && n == BATCH; i++) {
        n = epoll_wait(p->fd, batch, BATCH, 0);
        for (int j = 0; j < n; j++)
            p->fn(batch[j].data.ptr, from_epoll(batch[j].events));
        p->end(p);
    }
}

int rl_poller_open(rl_poller *p, rl_loop *loop, rl_poll_fn *fn, rl_poll_end_fn *end)
{
    p->fn = fn;
    p->end = end;
    p->fd = epoll_create1(EPOLL_CLOEXEC);
    if (p->fd < 0)
        return -errno;
    int rc = uv_poll_init(&loop->uv, &p->handle, p->fd);
    if (rc < 0) {
        close(p->fd);
        return rc;
    }
    uv_poll_start(&p->handle, UV_READABLE, on_ready);
    return 0;
}

static void on_closed(uv_handle_t *h)
{
    close(RL_CONTAINER_OF(h, rl_poller, handle)->fd);
}

void rl_poller_close(rl_poller *p)
{
    uv_poll_stop(&p->handle);
    uv_close((uv_handle_t *)&p->handle, on_closed);
}

int rl_poller_add(rl_poller *p, int fd, unsigned events, void *owner)
{
    struct epoll_event ev = {.events = to_epoll(events), .data.ptr = owner};

    return epoll_ctl(p->fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

void rl_poller_change(rl_poller *p, int fd, unsigned events, void *owner)
{
    struct epoll_event ev = {.events = to_epoll(events), .data.ptr = owner};

    RL_CHECK(epoll_ctl(p->fd, EPOLL_CTL_MOD, fd, &ev) == 0);
}

void rl_poller_remove(rl_poller *p, int fd)
{
    epoll_ctl(p->fd, EPOLL_CTL_DEL, fd, NULL);
}
