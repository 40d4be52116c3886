/* client.c - one of ours: dialled, perhaps encrypted, then a socket with a poll handle.
 *
 *   DIALLING --> SHAKING --> OPEN --> CLOSED (on_closed, freed with the last handle)
 *       '-----------^          |         ^
 *       '-----------'----------'---------'
 *
 * The hook is on the loop only while there is something to send. It takes itself off, and nobody
 * else may: another hook may be the one that closes. */
#include "io/client.h"

#include "io/tls_stream.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PLAIN_ROOM = RL_TLS_RECORD_MAX + 1024, /* of the loop's buffer, in front of ciphertext */
    KEEP = 64 * 1024,                      /* a larger buffer is freed when it is empty */
};

enum state { DIALLING, SHAKING, OPEN, CLOSED };

struct rl_client {
    rl_loop *loop;
    const rl_client_events *events;
    void *owner;
    enum state state;
    bool hooked; /* there is something to send */
    bool polling, watched;
    bool full; /* the socket is: it is watched for room */
    unsigned handles;
    int fd; /* -1: none yet */
    rl_dial *dial;
    rl_tls_stream *tls; /* NULL: plain */
    rl_buf out;         /* written, and not yet sent, or not yet sealed */
    size_t sent;        /* of what is to go out now: out, or tls->out */
    uint64_t gone;
    uv_poll_t poll;
    uv_timer_t timer; /* of the opening */
    uint64_t patience;
    rl_hook hook;
    bool failed;
    rl_err why;
};

static void bury(rl_client *c)
{
    if (--c->handles)
        return;
    rl_loop_remove_hook(&c->hook);
    if (c->tls)
        rl_tls_stream_fini(c->tls);
    rl_free(c->tls);
    rl_buf_fini(&c->out);
    c->events->on_closed(c->owner, c->failed ? &c->why : NULL);
    rl_free(c);
}

static void on_timer_closed(uv_handle_t *h)
{
    bury(RL_CONTAINER_OF(h, rl_client, timer));
}

static void on_poll_closed(uv_handle_t *h)
{
    rl_client *c = RL_CONTAINER_OF(h, rl_client, poll);

    close(c->fd);
    bury(c);
}

/* The last word of TLS, if the socket takes it. */
static void say_goodbye(rl_client *c)
{
    if (!c->tls || c->state != OPEN || c->tls->out.len)
        return;
    rl_tls_stream_end(c->tls);
    (void)!send(c->fd, c->tls->out.data, c->tls->out.len, MSG_NOSIGNAL);
}

void rl_client_close(rl_client *c)
{
    if (c->state == CLOSED)
        return;
    say_goodbye(c);
    if (c->dial)
        rl_dial_cancel(c->dial);
    c->state = CLOSED;
    if (c->polling)
        uv_close((uv_handle_t *)&c->poll, on_poll_closed);
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

static void fail(rl_client *c, const char *why)
{
    if (c->state == CLOSED)
        return;
    c->failed = true;
    rl_err_set(&c->why, RL_ECLOSED, "%s%s", c->state == SHAKING ? "no TLS: " : "", why);
    rl_client_close(c);
}

/* Sending */

static void on_poll(uv_poll_t *poll, int status, int events);

/* libuv tells the kernel anew each time, so only when something has changed. */
static void watch(rl_client *c, bool full)
{
    if (c->watched && full == c->full)
        return;
    c->watched = true;
    c->full = full;
    uv_poll_start(&c->poll, UV_READABLE | (full ? UV_WRITABLE : 0), on_poll);
}

static void flush(rl_client *c)
{
    rl_buf *out = c->tls ? &c->tls->out : &c->out;

    if (c->tls && c->state == OPEN && c->out.len) {
        rl_tls_stream_seal(c->tls, c->out.data, c->out.len);
        c->gone += c->out.len; /* which part of it, nobody can say */
        rl_buf_clear(&c->out);
    }
    if (out->len == c->sent)
        return;
    ssize_t n = send(c->fd, out->data + c->sent, out->len - c->sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        fail(c, strerror(errno));
        return;
    }
    c->sent += n > 0 ? (size_t)n : 0;
    c->gone += n > 0 && !c->tls ? (size_t)n : 0;
    watch(c, c->sent < out->len);
    if (c->sent < out->len)
        return;
    c->sent = 0;
    rl_buf_clear(out);
    if (out->cap > KEEP)
        rl_buf_fini(out);
}

static bool on_turn(rl_hook *hook)
{
    rl_client *c = RL_CONTAINER_OF(hook, rl_client, hook);

    rl_loop_remove_hook(hook);
    c->hooked = false;
    if (c->state == CLOSED)
        return false;
    flush(c);
    return true;
}

void rl_client_write(rl_client *c, const void *p, size_t n, rl_phase phase)
{
    if (c->state == CLOSED)
        return;
    RL_CHECK(c->state == OPEN);
    rl_buf_add(&c->out, p, n);
    if (c->hooked)
        return;
    c->hooked = true;
    rl_loop_add_hook(c->loop, phase, &c->hook, on_turn);
    rl_loop_kick(c->loop);
}

uint64_t rl_client_gone(const rl_client *c)
{
    return c->gone;
}

size_t rl_client_pending(const rl_client *c)
{
    return c->out.len + (c->tls ? c->tls->out.len : 0) - c->sent;
}

/* Receiving */

static void open_now(rl_client *c)
{
    c->state = OPEN;
    uv_timer_stop(&c->timer);
    c->events->on_open(c->owner);
}

/* What is lent to the stream, as plaintext to the owner. */
static void decrypt(rl_client *c)
{
    int n;

    do {
        n = rl_tls_stream_read(c->tls, c->loop->recv, RL_TLS_RECORD_MAX);
        if (n > 0)
            c->events->on_data(c->owner, c->loop->recv, (size_t)n);
    } while (n > 0 && c->state == OPEN);
    if (c->state != OPEN)
        return;
    if (n == RL_ECLOSED)
        fail(c, "closed by the server");
    else if (n < 0)
        fail(c, c->tls->why);
    else
        flush(c); /* what OpenSSL may have to say by itself */
}

static void shake(rl_client *c)
{
    int rc = rl_tls_stream_handshake(c->tls);

    flush(c); /* an alert, too */
    if (c->state != SHAKING)
        return;
    if (rc < 0) {
        fail(c, c->tls->why ? c->tls->why : "the server hung up");
    } else if (rc == 1) {
        open_now(c);
        if (c->state == OPEN)
            decrypt(c); /* a quick server */
    }
}

static void on_readable(rl_client *c)
{
    char *into = c->loop->recv + (c->tls ? PLAIN_ROOM : 0);
    ssize_t n = recv(c->fd, into, RL_LOOP_RECV_SIZE - (size_t)(into - c->loop->recv), 0);

    if (n == 0) {
        fail(c, "closed by the server");
    } else if (n < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            fail(c, strerror(errno));
    } else if (!c->tls) {
        c->events->on_data(c->owner, into, (size_t)n);
    } else {
        c->tls->in = into;
        c->tls->nin = (size_t)n;
        if (c->state == SHAKING)
            shake(c);
        else
            decrypt(c);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    rl_client *c = RL_CONTAINER_OF(poll, rl_client, poll);

    if (status < 0) { /* libuv's word for a socket in error: which, recv says */
        on_readable(c);
        fail(c, "the connection broke");
        return;
    }
    if (events & UV_WRITABLE)
        flush(c);
    if (events & UV_READABLE && c->state != CLOSED)
        on_readable(c);
}

/* Opening */

/* fd is ours, or closed: 0 or negative, libuv's. */
static int take_socket(rl_client *c, int fd)
{
    int rc = uv_poll_init(&c->loop->uv, &c->poll, fd);

    if (rc < 0) {
        close(fd);
        return rc;
    }
    c->fd = fd;
    c->polling = true;
    c->handles++;
    watch(c, false);
    return 0;
}

static void on_dialled(void *arg, int fd, const rl_err *err)
{
    rl_client *c = arg;

    c->dial = NULL;
    if (err) {
        fail(c, err->msg);
        return;
    }
    int rc = take_socket(c, fd);
    if (rc < 0) {
        fail(c, uv_strerror(rc));
        return;
    }
    if (!c->tls) {
        open_now(c);
        return;
    }
    c->state = SHAKING;
    shake(c);
}

static void on_late(uv_timer_t *timer)
{
    rl_client *c = RL_CONTAINER_OF(timer, rl_client, timer);
    char why[80];

    snprintf(why, sizeof(why), "%s within %g s",
             c->state == SHAKING ? "the handshake did not end" : "no connection",
             (double)c->patience / 1000);
    fail(c, why);
}

static rl_client *new_client(rl_loop *loop, const rl_client_events *events, void *owner)
{
    rl_client *c = rl_calloc(1, sizeof(*c));

    *c = (rl_client){.loop = loop, .events = events, .owner = owner, .fd = -1, .handles = 1};
    rl_list_init(&c->hook.link);
    uv_timer_init(&loop->uv, &c->timer);
    return c;
}

rl_client *rl_client_open(rl_loop *loop, const rl_client_opts *opts, const rl_client_events *events,
                          void *owner)
{
    rl_client *c = new_client(loop, events, owner);

    c->patience = opts->patience;
    if (opts->tls) {
        c->tls = rl_calloc(1, sizeof(*c->tls));
        rl_tls_stream_init_client(c->tls, opts->tls);
    }
    uv_update_time(&loop->uv);
    uv_timer_start(&c->timer, on_late, opts->patience, 0);
    c->dial = rl_dial_start(loop, &opts->where, on_dialled, c);
    return c;
}

static void free_unused(uv_handle_t *h)
{
    rl_free(RL_CONTAINER_OF((uv_timer_t *)h, rl_client, timer));
}

rl_client *rl_client_adopt(rl_loop *loop, int fd, const rl_client_events *events, void *owner)
{
    rl_client *c = new_client(loop, events, owner);

    c->state = OPEN;
    if (take_socket(c, fd) == 0)
        return c;
    uv_close((uv_handle_t *)&c->timer, free_unused);
    return NULL;
}
