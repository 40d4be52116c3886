/* conn.c - sockets on a poller, with our own recv and send.
 *
 * A send goes straight from the cork buffer to the kernel; the poller is asked for room only
 * after a short one.
 *
 *   open --> finishing --> half closed --> closed --> (on_closed, freed)
 *     |           '-- parting ------------^
 *     '-----------------------------------^
 *
 * A closed connection sits on conns.doomed until the turn's hook reports it, because
 * closing may be asked for from inside on_data, or by a script. */
#include "io/conn_parts.h"

#include "base/pack.h"
#include "io/peers.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    FLUSH_AT = 32 * 1024,         /* a cork this full is sent without waiting for the turn's end */
    CORK_SIZE = 4 * 1024,         /* a fresh cork buffer */
    KEEP_SPARE = 64 * 1024,       /* a larger one is freed, not kept */
    SLOT_SIZE = 2 * 1024,         /* of a batch: what is read of one connection */
    SLOT_STRIDE = SLOT_SIZE + 64, /* or all would share a few sets of the cache */
    LINGER_MS = 2000,
    STALL_MS = 30000,
};

void rl_conn_update_mask(rl_conn *c)
{
    unsigned mask = c->eof || c->busy ? 0 : !c->paused || c->finishing ? RL_POLL_READ : RL_POLL_HUP;

    if (c->blocked)
        mask |= RL_POLL_WRITE;
    if (mask == c->mask || c->closed)
        return;
    c->mask = (uint8_t)mask;
    rl_poller_change(&c->all->poller, c->fd, mask, c);
}

void rl_conn_doom(rl_conn *c, int error)
{
    if (c->closed)
        return;
    c->closed = true;
    c->error = error;
    rl_timeout_stop(&c->timer);
    if (c->busy) /* else its descriptor is closed before the poller looks again, which will do */
        rl_poller_remove(&c->all->poller, c->fd);
    rl_list_remove(&c->link);
    rl_list_push(&c->all->doomed, &c->link);
    rl_loop_kick(c->all->loop);
}

/* Have the turn's hook see to it. */
static void enlist(rl_conn *c)
{
    if (!rl_list_alone(&c->link))
        return;
    rl_list_push(&c->all->dirty, &c->link);
    rl_loop_kick(c->all->loop);
}

/* Cork buffers */

void rl_conns_lend(rl_conns *all, rl_buf *out, size_t n)
{
    if (out->cap == 0)
        *out = all->nspare ? all->spare[--all->nspare] : (rl_buf){0};
    rl_buf_reserve(out, out->cap || n > CORK_SIZE ? n : CORK_SIZE);
}

void rl_conns_take_back(rl_conns *all, rl_buf *out)
{
    rl_buf_clear(out);
    if (out->cap && out->cap <= KEEP_SPARE && all->nspare < RL_COUNT(all->spare)) {
        all->spare[all->nspare++] = *out;
        *out = (rl_buf){0};
    } else {
        rl_buf_fini(out);
    }
}

static void lend_cork(rl_conn *c, size_t n)
{
    rl_shared *lent = c->lent;

    rl_conns_lend(c->all, &c->out, lent ? n + lent->n : n);
    if (lent) {
        rl_buf_add_str(&c->out, rl_shared_str(lent));
        rl_shared_unref(lent);
        c->lent = NULL;
    }
}

static void return_cork(rl_conn *c)
{
    c->sent = 0;
    if (c->lent) {
        rl_shared_unref(c->lent);
        c->lent = NULL;
        c->out = (rl_buf){0};
    } else {
        rl_conns_take_back(c->all, &c->out);
    }
}

/* Writing */

static void half_close(rl_conn *c)
{
    if (c->eof || c->parting) {
        rl_conn_doom(c, 0); /* both sides have said all they had */
        return;
    }
    if (c->half_closed)
        return;
    shutdown(c->fd, SHUT_WR);
    c->half_closed = true;
    rl_conn_update_mask(c);
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

void rl_conn_settled(rl_conn *c, size_t left)
{
    if (left && !c->blocked)
        rl_conn_await_reader(c);
    if (left == 0)
        sent_all(c);
    else
        c->blocked = true;
    rl_conn_update_mask(c);

    if (c->over && !c->closed && left <= c->all->high_water / 4) {
        c->over = false;
        c->events->on_drain(c->owner);
    }
}

/* A send took n bytes, or was answered -errno. What the socket did not take waits for the poll. */
static void settle(rl_conn *c, ssize_t n)
{
    if (n < 0 && n != -EAGAIN && n != -EWOULDBLOCK && n != -EINTR) {
        rl_conn_doom(c, (int)-n);
        return;
    }
    if (n > 0) {
        c->sent += (uint32_t)n;
        c->delivered += (uint64_t)n;
        c->all->delivered += (uint64_t)n;
    }
    rl_conn_settled(c, rl_conn_pending(c));
}

static void flush(rl_conn *c)
{
    if (RL_UNLIKELY(c->tls != NULL)) {
        rl_conn_tls_flush(c);
        return;
    }
    size_t left = rl_conn_pending(c);
    ssize_t n = left ? send(c->fd, c->out.data + c->sent, left, MSG_NOSIGNAL) : 0;

    settle(c, n < 0 ? -errno : n);
}

static void on_sent(void *owner, char *p, ssize_t n)
{
    rl_conn *c = owner;

    if (c->closed)
        return;
    settle(c, n);
    if (c->resumed)
        enlist(c);
}

/* Without waiting for the turn's end. What is to be offered keeps its place. */
void rl_conn_flush_now(rl_conn *c)
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

    if (!c->blocked)
        enlist(c);
    if (c->out.len >= FLUSH_AT && !c->blocked && !c->over)
        rl_conn_flush_now(c);
}

char *rl_conn_room(rl_conn *c, size_t n)
{
    size_t after = c->out.len + n;

    if (RL_UNLIKELY(c->closed || c->finishing || c->blocked || c->over || c->lent) ||
        RL_UNLIKELY(after >= FLUSH_AT || after > c->all->high_water))
        return NULL;
    if (RL_UNLIKELY(c->out.cap < after))
        rl_conns_lend(c->all, &c->out, n);
    enlist(c);
    return c->out.data + c->out.len;
}

void rl_conn_write_shared(rl_conn *c, rl_shared *bytes)
{
    if (c->closed || c->finishing)
        return;
    if (c->out.cap || c->lent) {
        rl_conn_write(c, bytes->data, bytes->n);
        return;
    }
    c->lent = rl_shared_ref(bytes);
    c->out = (rl_buf){.data = bytes->data, .len = bytes->n};
    if (!c->blocked)
        enlist(c);
}

void rl_conn_write(rl_conn *c, const void *p, size_t n)
{
    rl_conn_write2(c, NULL, 0, p, n);
}

bool rl_conn_is_over(rl_conn *c)
{
    if (rl_conn_pending(c) > c->all->high_water && !c->closed)
        c->over = true;
    return c->over;
}

/* Reading */

void rl_conn_offer(rl_conn *c, char *p, size_t n)
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

void rl_conn_reached_eof(rl_conn *c)
{
    c->eof = true;
    if (c->finishing ? c->half_closed : !(c->events->on_eof && c->events->on_eof(c->owner))) {
        if (rl_conn_pending(c) && !c->blocked && !c->finishing)
            c->finishing = true; /* what was said this turn is still to be sent */
        else
            rl_conn_doom(c, 0);
    }
    rl_conn_update_mask(c);
}

/* A recv brought n bytes at p, or was answered -errno. */
static void received(rl_conn *c, char *p, ssize_t n)
{
    if (n == 0) {
        rl_conn_reached_eof(c);
    } else if (n < 0) {
        if (n != -EAGAIN && n != -EWOULDBLOCK && n != -EINTR)
            rl_conn_doom(c, (int)-n);
    } else if (!c->finishing) { /* after the last word: read on, so that closing is no reset */
        c->received += (uint64_t)n;
        c->all->received += (uint64_t)n;
        c->bulk = n >= SLOT_SIZE;
        rl_conn_offer(c, p, (size_t)n);
    }
}

static void read_now(rl_conn *c)
{
    char *into = c->all->loop->recv;
    size_t room = RL_LOOP_RECV_SIZE, kept = c->in.len;

    if (RL_UNLIKELY(c->tls != NULL) && !c->finishing) {
        rl_conn_tls_readable(c);
        return;
    }
    if (kept) {
        rl_buf_reserve(&c->in, RL_LOOP_RECV_SIZE / 4);
        into = c->in.data + kept;
        room = c->in.cap - kept;
    }
    ssize_t n = recv(c->fd, into, room, 0);
    if (kept && n > 0 && !c->finishing) {
        c->in.len += (size_t)n;
        c->received += (uint64_t)n;
        c->all->received += (uint64_t)n;
        rl_conn_offer(c, c->in.data, c->in.len);
        return;
    }
    received(c, into, n < 0 ? -errno : n);
}

/* Others of the batch ran before: they may have closed or paused this one, whose words are kept. */
static void on_received(void *owner, char *p, ssize_t n)
{
    rl_conn *c = owner;

    if (c->closed)
        return;
    if (!c->paused || c->finishing)
        received(c, p, n);
    else if (n > 0)
        rl_buf_add(&c->in, p, (size_t)n);
    if (n == SLOT_SIZE && !c->paused && !c->closed)
        read_now(c);
}

/* Offer what was kept, then send what everybody has to say. */
static void serve_dirty(rl_conns *all)
{
    rl_list *it;

    while ((it = rl_list_pop(&all->dirty))) {
        rl_conn *c = RL_LIST_ENTRY(it, rl_conn, link);
        if (c->resumed) {
            c->resumed = false;
            rl_conn_offer(c, c->in.data, c->in.len);
        }
        if (!rl_list_alone(&c->link))
            continue; /* closed, or its turn comes again */
        if (rl_conn_pending(c) && RL_LIKELY(c->tls == NULL))
            rl_list_push(&all->sending, &c->link);
        else
            flush(c);
    }
    /* Not before everybody has had his say: what is queued must stay where it is. */
    while ((it = rl_list_pop(&all->sending))) {
        rl_conn *c = RL_LIST_ENTRY(it, rl_conn, link);
        rl_batch_add(all->sends, c->fd, c->out.data + c->sent, rl_conn_pending(c), c);
        if (rl_batch_len(all->sends) == RL_BATCH_MAX)
            rl_batch_run(all->sends);
    }
    rl_batch_run(all->sends);
}

/* Short messages of many connections are read in one call, into a slot each; and what is answered
 * at once leaves in one, while its corks are warm, before the next are read. What tasks write later
 * in this turn leaves at its end. */
static void read_ready(rl_conns *all)
{
    unsigned n = all->nready;

    all->nready = 0;
    for (unsigned i = 0; i < n; i++) {
        rl_conn *c = all->ready[i];
        if (c->closed)
            continue; /* earlier in this batch */
        if (n == 1 || c->bulk || c->in.len)
            read_now(c);
        else
            rl_batch_add(all->recvs, c->fd, all->slots + i * SLOT_STRIDE, SLOT_SIZE, c);
    }
    rl_batch_run(all->recvs);
    serve_dirty(all);
}

static void on_polled(rl_poller *p)
{
    read_ready(RL_CONTAINER_OF(p, rl_conns, poller));
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
    if (!(events & RL_POLL_READ) || c->closed)
        return;
    c->all->ready[c->all->nready++] = c;
    if (c->all->nready == RL_BATCH_MAX)
        read_ready(c->all);
}

void rl_conn_pause(rl_conn *c)
{
    if (c->hung_up)
        return;
    c->paused = true;
    c->resumed = false;
    rl_conn_update_mask(c);
}

void rl_conn_resume(rl_conn *c)
{
    c->paused = false;
    rl_conn_update_mask(c);
    if (c->in.len == 0 || c->closed || c->finishing)
        return;
    c->resumed = true;
    enlist(c);
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
    if (!c->blocked)
        enlist(c); /* which half closes */
    rl_conn_update_mask(c);
}

void rl_conn_part(rl_conn *c)
{
    c->parting = c->tls == NULL;
    rl_conn_finish(c);
}

void rl_conn_close(rl_conn *c)
{
    c->by_us = true;
    rl_conn_doom(c, 0);
}

static void count(rl_conns *all, int more)
{
    all->count += (unsigned)more;
    atomic_store_explicit(&all->tally.here, all->count, memory_order_relaxed);
    atomic_fetch_add_explicit(all->tally.everywhere, (unsigned)more, memory_order_relaxed);
}

static void close_socket(rl_conns *all, int fd)
{
    if (all->counts_peers)
        rl_peers_leave(fd);
    close(fd);
}

static void bury(rl_conn *c)
{
    rl_err why;

    if (!c->by_us) {
        const char *tls = c->tls ? rl_conn_tls_why(c) : NULL;
        const char *plain = c->error ? strerror(c->error) : "closed by the peer";
        rl_err_set(&why, RL_ECLOSED, "%s", tls ? tls : plain);
    }
    return_cork(c);
    rl_buf_fini(&c->in);
    if (c->tls)
        rl_conn_tls_free(c);
    c->events->on_closed(c->owner, c->by_us ? NULL : &why);
    if (c->introduced)
        rl_conn_forget(c);
    if (c->fd >= 0)
        close_socket(c->all, c->fd);
    count(c->all, -1);
    rl_slab_give(&c->all->memory, c);
}

void rl_conn_rebury(rl_conn *c)
{
    rl_list_push(&c->all->doomed, &c->link);
    rl_loop_kick(c->all->loop);
}

static bool run_turn(rl_hook *hook)
{
    rl_conns *all = RL_CONTAINER_OF(hook, rl_conns, flush);
    bool busy = !rl_list_empty(&all->dirty) || !rl_list_empty(&all->doomed);
    rl_list *it;

    serve_dirty(all);
    while ((it = rl_list_pop(&all->doomed))) {
        rl_conn *c = RL_LIST_ENTRY(it, rl_conn, link);
        if (!c->busy) /* else it is not ours alone: rl_conn_rebury() follows */
            bury(c);
    }
    return busy;
}

int rl_conns_init(rl_conns *all, rl_loop *loop)
{
    *all =
        (rl_conns){.loop = loop, .high_water = RL_CONN_HIGH_WATER, .memory = RL_SLAB_OF(rl_conn)};
    all->tally.everywhere = &all->tally.alone;
    int rc = rl_poller_open(&all->poller, loop, on_ready, on_polled);
    if (rc < 0)
        return rc;
    rl_list_init(&all->dirty);
    rl_list_init(&all->sending);
    rl_list_init(&all->doomed);
    all->sends = rl_batch_new(RL_BATCH_SEND, on_sent);
    all->recvs = rl_batch_new(RL_BATCH_RECV, on_received);
    all->slots = rl_malloc(RL_BATCH_MAX * SLOT_STRIDE);
    rl_timeouts_open(&all->lingering, loop, LINGER_MS, rl_conn_on_lingered);
    rl_timeouts_open(&all->stalled, loop, STALL_MS, rl_conn_on_stalled);
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
    rl_batch_free(all->sends);
    rl_batch_free(all->recvs);
    rl_free(all->slots);
    rl_poller_close(&all->poller);
    rl_timeouts_close(&all->lingering);
    rl_timeouts_close(&all->stalled);
    rl_map_fini(&all->introduced);
    rl_slab_fini(&all->memory);
    while (all->nspare)
        rl_buf_fini(&all->spare[--all->nspare]);
}

static rl_conn *open_conn(rl_conns *all, int fd, rl_tls *keys, const rl_conn_events *events,
                          void *owner, bool paused)
{
    rl_conn *c = rl_slab_zeroed(&all->memory);

    c->paused = paused;
    c->mask = paused ? RL_POLL_HUP : RL_POLL_READ;
    if (rl_poller_add(&all->poller, fd, c->mask, c) < 0) {
        all->loop->counters.refused_descriptors++;
        close_socket(all, fd);
        rl_slab_give(&all->memory, c);
        return NULL;
    }
    c->all = all;
    c->events = events;
    c->owner = owner;
    c->fd = fd;
    rl_list_init(&c->link);
    rl_timeout_init(&c->timer);
    if (keys)
        rl_conn_tls_open(c, keys);
    count(all, 1);
    all->loop->counters.accepted++;
    return c;
}

rl_conn *rl_conn_open(rl_conns *all, int fd, rl_tls *keys, const rl_conn_events *events,
                      void *owner)
{
    return open_conn(all, fd, keys, events, owner, false);
}

void rl_conn_own(rl_conn *c, const rl_conn_events *events, void *owner)
{
    c->events = events;
    c->owner = owner;
}

/* From process to process. The poller would go on telling of a socket that lives on elsewhere: it
 * has to be told. */

int rl_conn_leave(rl_conn *c, rl_buf *out)
{
    int fd = c->fd;

    RL_CHECK(!c->tls && rl_conn_pending(c) == 0 && !c->closed);
    rl_pack_bytes(out, rl_buf_str(&c->in));
    rl_poller_remove(&c->all->poller, fd);
    if (c->all->counts_peers)
        rl_peers_leave(fd);
    rl_conn_close(c);
    c->fd = -1;
    return fd;
}

rl_conn *rl_conn_arrive(rl_conns *all, int fd, rl_str *in, const rl_conn_events *events,
                        void *owner)
{
    rl_str unread = {0};
    rl_conn *c = open_conn(all, fd, NULL, events, owner, true);

    if (c && rl_unpack_bytes(in, &unread) && unread.n)
        rl_buf_add_str(&c->in, unread);
    return c;
}
