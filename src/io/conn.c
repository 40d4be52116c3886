/* conn.c - sockets on a poller, with our own recv and send.
 *
 * A send goes straight from the cork buffer to the kernel; the poller is asked for room only
 * after a short one.
 *
 *   open --> finishing --> half closed --> closed --> (on_closed, freed)
 *     '-----------------------------------^
 *
 * A closed connection sits on conns.doomed until the turn's hook reports it, because
 * closing may be asked for from inside on_data, or by a script. */
#include "io/conn.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    FLUSH_AT = 32 * 1024,   /* a cork this full is sent without waiting for the turn's end */
    CORK_SIZE = 4 * 1024,   /* a fresh cork buffer */
    KEEP_SPARE = 64 * 1024, /* a larger one is freed, not kept */
    LINGER_MS = 2000,
    STALL_MS = 30000,
};

static void update_mask(rl_conn *c)
{
    unsigned mask = c->eof ? 0 : !c->paused || c->finishing ? RL_POLL_READ : RL_POLL_HUP;

    if (c->blocked)
        mask |= RL_POLL_WRITE;
    if (mask == c->mask || c->closed)
        return;
    c->mask = (uint8_t)mask;
    rl_poller_change(&c->all->poller, c->fd, mask, c);
}

static void doom(rl_conn *c, int error)
{
    if (c->closed)
        return;
    c->closed = true;
    c->error = error;
    rl_timeout_stop(&c->timer);
    rl_poller_remove(&c->all->poller, c->fd);
    rl_list_remove(&c->link);
    rl_list_push(&c->all->doomed, &c->link);
    rl_loop_kick(c->all->loop);
}

/* Cork buffers */

static void lend_cork(rl_conn *c, size_t n)
{
    rl_conns *all = c->all;

    if (!c->out.cap && all->nspare)
        c->out = all->spare[--all->nspare];
    rl_buf_reserve(&c->out, c->out.cap || n > CORK_SIZE ? n : CORK_SIZE);
}

static void return_cork(rl_conn *c)
{
    rl_conns *all = c->all;

    c->sent = 0;
    rl_buf_clear(&c->out);
    if (c->out.cap && c->out.cap <= KEEP_SPARE && all->nspare < RL_COUNT(all->spare)) {
        all->spare[all->nspare++] = c->out;
        c->out = (rl_buf){0};
    } else {
        rl_buf_fini(&c->out);
    }
}

/* Writing */

static void half_close(rl_conn *c)
{
    if (c->eof) {
        doom(c, 0); /* both sides have said all they had */
        return;
    }
    shutdown(c->fd, SHUT_WR);
    c->half_closed = true;
    update_mask(c);
    rl_timeout_start(&c->all->lingering, &c->timer);
}

static void sent_all(rl_conn *c)
{
    return_cork(c);
    c->blocked = false;
    if (c->finishing)
        half_close(c);
    else
        rl_timeout_stop(&c->timer);
}

/* One send. What the socket does not take waits for the poll. */
static void flush(rl_conn *c)
{
    size_t left = rl_conn_pending(c);

    if (left) {
        ssize_t n = send(c->fd, c->out.data + c->sent, left, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
            doom(c, errno);
            return;
        }
        if (n > 0) {
            c->sent += (uint32_t)n;
            c->delivered += (uint64_t)n;
            left -= (size_t)n;
        }
        if (left && (n > 0 || !c->blocked))
            rl_timeout_start(&c->all->stalled, &c->timer);
    }
    if (left == 0)
        sent_all(c);
    else
        c->blocked = true;
    update_mask(c);

    if (c->over && !c->closed && left <= RL_CONN_LOW_WATER) {
        c->over = false;
        c->events->on_drain(c->owner);
    }
}

/* Without waiting for the turn's end. What is to be offered keeps its place. */
static void flush_now(rl_conn *c)
{
    if (!c->resumed)
        rl_list_remove(&c->link);
    flush(c);
}

void rl_conn_write2(rl_conn *c, const void *head, size_t nhead, const void *p, size_t n)
{
    if (c->closed || c->finishing)
        return;
    lend_cork(c, nhead + n);
    if (nhead)
        memcpy(c->out.data + c->out.len, head, nhead);
    if (n)
        memcpy(c->out.data + c->out.len + nhead, p, n);
    c->out.len += nhead + n;

    if (c->blocked)
        return;
    if (rl_list_alone(&c->link)) {
        rl_list_push(&c->all->dirty, &c->link);
        rl_loop_kick(c->all->loop);
    }
    if (c->out.len >= FLUSH_AT && !c->over)
        flush_now(c);
}

void rl_conn_write(rl_conn *c, const void *p, size_t n)
{
    rl_conn_write2(c, NULL, 0, p, n);
}

bool rl_conn_is_over(rl_conn *c)
{
    if (rl_conn_pending(c) > RL_CONN_HIGH_WATER && !c->closed)
        c->over = true;
    return c->over;
}

/* Reading */

static void offer(rl_conn *c, char *p, size_t n)
{
    const void *owner = c->owner;

    c->in_data = true;
    size_t used = c->events->on_data(c->owner, p, n);
    c->in_data = false;
    RL_CHECK(used <= n);

    if (c->closed || c->finishing) {
        rl_buf_fini(&c->in);
    } else if (p == c->in.data) {
        rl_buf_consume(&c->in, used);
        if (c->in.len == 0)
            rl_buf_fini(&c->in);
    } else if (used < n) {
        rl_buf_add(&c->in, p + used, n - used);
    }
    if (c->owner != owner && !c->paused)
        rl_conn_resume(c); /* a new owner: what the old one left is its to see */
}

static void reached_eof(rl_conn *c)
{
    c->eof = true;
    if (c->finishing ? c->half_closed : !(c->events->on_eof && c->events->on_eof(c->owner)))
        doom(c, 0);
    update_mask(c);
}

/* After the last word: read on, so that closing does not reset what is still in flight. */
static void discard(rl_conn *c)
{
    ssize_t n = recv(c->fd, c->all->loop->recv, RL_LOOP_RECV_SIZE, 0);

    if (n == 0)
        reached_eof(c);
    else if (n < 0 && errno != EAGAIN && errno != EINTR)
        doom(c, errno);
}

static void on_readable(rl_conn *c)
{
    char *into = c->all->loop->recv;

    if (c->finishing) {
        discard(c);
        return;
    }
    if (c->in.len) {
        rl_buf_reserve(&c->in, RL_LOOP_RECV_SIZE / 4);
        into = c->in.data + c->in.len;
    }
    size_t room = c->in.len ? c->in.cap - c->in.len : RL_LOOP_RECV_SIZE;

    ssize_t n = recv(c->fd, into, room, 0);
    if (n == 0) {
        reached_eof(c);
        return;
    }
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            doom(c, errno);
        return;
    }
    c->received += (uint64_t)n;
    if (c->in.len) {
        c->in.len += (size_t)n;
        offer(c, c->in.data, c->in.len);
    } else {
        offer(c, into, (size_t)n);
    }
    /* Answers given at once leave while their cork is warm; what tasks write later in this turn
     * leaves at its end. */
    if (rl_conn_pending(c) && !c->blocked && !c->closed)
        flush_now(c);
}

static void on_ready(void *owner, unsigned events)
{
    rl_conn *c = owner;

    if (c->closed)
        return; /* earlier in this batch */
    if (events & RL_POLL_WRITE)
        flush(c);
    /* A peer that hung up while we were not reading: what it sent before is bounded by the
     * socket's buffer, so read it and come to the end. */
    if (events & RL_POLL_HUP && !c->closed && !c->eof) {
        c->hung_up = true;
        rl_conn_resume(c);
    }
    if (events & RL_POLL_READ && !c->closed)
        on_readable(c);
}

void rl_conn_pause(rl_conn *c)
{
    if (c->hung_up)
        return;
    c->paused = true;
    c->resumed = false;
    update_mask(c);
}

void rl_conn_resume(rl_conn *c)
{
    c->paused = false;
    update_mask(c);
    if (c->in.len == 0 || c->closed || c->finishing)
        return;
    c->resumed = true;
    if (rl_list_alone(&c->link)) {
        rl_list_push(&c->all->dirty, &c->link);
        rl_loop_kick(c->all->loop);
    }
}

/* The end */

void rl_conn_finish(rl_conn *c)
{
    if (c->closed || c->finishing)
        return;
    c->by_us = true;
    c->finishing = true;
    c->over = false;
    if (!c->in_data)
        rl_buf_fini(&c->in);
    if (rl_list_alone(&c->link) && !c->blocked) { /* the flush half closes */
        rl_list_push(&c->all->dirty, &c->link);
        rl_loop_kick(c->all->loop);
    }
    update_mask(c);
}

void rl_conn_close(rl_conn *c)
{
    c->by_us = true;
    doom(c, 0);
}

static void bury(rl_conn *c)
{
    rl_err why = {0};

    if (!c->by_us)
        rl_err_set(&why, RL_ECLOSED, "%s", c->error ? strerror(c->error) : "closed by the peer");
    return_cork(c);
    rl_buf_fini(&c->in);
    c->events->on_closed(c->owner, c->by_us ? NULL : &why);
    close(c->fd);
    c->all->count--;
    rl_free(c);
}

static bool run_turn(rl_hook *hook)
{
    rl_conns *all = RL_CONTAINER_OF(hook, rl_conns, flush);
    bool busy = !rl_list_empty(&all->dirty) || !rl_list_empty(&all->doomed);
    rl_list *it;

    while ((it = rl_list_pop(&all->dirty))) {
        rl_conn *c = RL_LIST_ENTRY(it, rl_conn, link);
        if (c->resumed) {
            c->resumed = false;
            offer(c, c->in.data, c->in.len);
        }
        if (!c->closed)
            flush(c);
    }
    while ((it = rl_list_pop(&all->doomed)))
        bury(RL_LIST_ENTRY(it, rl_conn, link));
    return busy;
}

static void on_lingered(rl_timeout *t)
{
    rl_conn *c = RL_CONTAINER_OF(t, rl_conn, timer);

    c->all->loop->counters.lingered++;
    doom(c, 0);
}

static void on_stalled(rl_timeout *t)
{
    rl_conn *c = RL_CONTAINER_OF(t, rl_conn, timer);

    c->all->loop->counters.stalled++;
    doom(c, ETIMEDOUT);
}

int rl_conns_init(rl_conns *all, rl_loop *loop)
{
    *all = (rl_conns){.loop = loop};
    int rc = rl_poller_open(&all->poller, loop, on_ready);
    if (rc < 0)
        return rc;
    rl_list_init(&all->dirty);
    rl_list_init(&all->doomed);
    rl_timeouts_open(&all->lingering, loop, LINGER_MS, on_lingered);
    rl_timeouts_open(&all->stalled, loop, STALL_MS, on_stalled);
    rl_loop_add_hook(loop, RL_PHASE_WRITE, &all->flush, run_turn);
    return 0;
}

static void close_waiting(rl_timeouts *ts)
{
    RL_LIST_EACH (it, &ts->waiting)
        rl_conn_close(RL_CONTAINER_OF(it, rl_conn, timer.link));
}

void rl_conns_abort(rl_conns *all)
{
    close_waiting(&all->lingering);
    close_waiting(&all->stalled);
}

void rl_conns_fini(rl_conns *all)
{
    RL_CHECK(all->count == 0);
    rl_loop_remove_hook(&all->flush);
    rl_poller_close(&all->poller);
    rl_timeouts_close(&all->lingering);
    rl_timeouts_close(&all->stalled);
    while (all->nspare)
        rl_buf_fini(&all->spare[--all->nspare]);
}

rl_conn *rl_conn_open(rl_conns *all, int fd, const rl_conn_events *events, void *owner)
{
    rl_conn *c = rl_calloc(1, sizeof(*c));

    c->mask = RL_POLL_READ;
    if (rl_poller_add(&all->poller, fd, c->mask, c) < 0) {
        all->loop->counters.refused_descriptors++;
        close(fd);
        rl_free(c);
        return NULL;
    }
    c->all = all;
    c->events = events;
    c->owner = owner;
    c->fd = fd;
    rl_list_init(&c->link);
    rl_timeout_init(&c->timer);
    all->count++;
    all->loop->counters.accepted++;
    return c;
}

void rl_conn_own(rl_conn *c, const rl_conn_events *events, void *owner)
{
    c->events = events;
    c->owner = owner;
}

rl_address rl_conn_peer(const rl_conn *c)
{
    struct sockaddr_storage addr = {0};
    socklen_t n = sizeof(addr);

    getpeername(c->fd, (struct sockaddr *)&addr, &n);
    return rl_address_of_sockaddr(&addr);
}

rl_address rl_conn_local(const rl_conn *c)
{
    struct sockaddr_storage addr = {0};
    socklen_t n = sizeof(addr);

    getsockname(c->fd, (struct sockaddr *)&addr, &n);
    return rl_address_of_sockaddr(&addr);
}
