/* conn_tls.c - the TLS of a connection: between its socket and its owner.
 *
 *   handshake --done--> open --close_notify, or FIN--> ended
 *        '---------failed----'--broken--> told why, closed
 *
 * Every step of a handshake is handed to the offload's threads together with the SSL; meanwhile
 * the connection is `busy`, and nobody here touches the SSL. A closed connection that is busy is
 * buried when it comes back.
 *
 * Reading: the ciphertext goes into the back of the loop's buffer and comes out as plaintext in
 * its front, so all that came in one recv is offered at once. Writing: the cork is sealed once a
 * turn, and leaves in one send. Only what the socket did not take is kept, as ciphertext. */
#include "io/conn_parts.h"

#include "base/log.h"
#include "io/tls_stream.h"

#include <errno.h>
#include <sys/socket.h>

enum {
    BACK = RL_TLS_RECORD_MAX + 1024, /* where ciphertext begins in the loop's buffer */
    SEAL_AT_ONCE = 64 * 1024,        /* more is sealed when this has left */
};

struct rl_conn_tls {
    rl_tls_stream stream;
    rl_conn *conn;
    rl_tls *keys;
    rl_buf came; /* of the handshake, and what the peer sent right behind it */
    rl_work work;
    int result;      /* of the work */
    uint32_t gone;   /* bytes of stream.out that are sent */
    uint32_t sealed; /* bytes of the cork, behind c->sent, whose ciphertext is in stream.out */
};

static size_t ciphertext(const struct rl_conn_tls *t)
{
    return t->stream.out.len - t->gone;
}

/* What OpenSSL has to say by itself; the owner's words leave at the end of the turn. */
static void send_rest(rl_conn *c)
{
    if (ciphertext(c->tls) && !c->blocked && !c->closed)
        rl_conn_flush_now(c);
}

/* Reading */

static void deliver(rl_conn *c, char *p, size_t n)
{
    c->received += n;
    if (c->in.len == 0) {
        rl_conn_offer(c, p, n);
        return;
    }
    rl_buf_add(&c->in, p, n);
    rl_conn_offer(c, c->in.data, c->in.len);
}

/* The peer said that it has said all. */
static void ended(rl_conn *c)
{
    if (c->paused) { /* what it sent before is bounded, and offered without delay */
        c->hung_up = true;
        rl_conn_resume(c);
    }
    rl_conn_reached_eof(c);
}

static void broken(rl_conn *c)
{
    struct rl_conn_tls *t = c->tls;

    rl_debug("TLS: a connection broke: %s", t->stream.why);
    if (!c->blocked) /* the alert, if there is room for it */
        (void)!send(c->fd, t->stream.out.data + t->gone, ciphertext(t), MSG_NOSIGNAL);
    rl_conn_doom(c, EPROTO);
}

/* Decrypt what is lent to the stream, and offer it. */
static void take(rl_conn *c)
{
    rl_tls_stream *s = &c->tls->stream;
    char *front = c->all->loop->recv;
    size_t n;
    int rc;

    do {
        n = 0;
        while ((rc = rl_tls_stream_read(s, front + n, RL_LOOP_RECV_SIZE - n)) > 0) {
            n += (size_t)rc;
            if (n == RL_LOOP_RECV_SIZE)
                break;
        }
        if (n)
            deliver(c, front, n);
    } while (rc > 0 && !c->closed && !c->finishing);
    if (c->closed)
        return;
    if (rc == RL_ECLOSED)
        ended(c);
    else if (rc == RL_EPROTO)
        broken(c);
}

/* The handshake */

static void work(rl_work *w)
{
    struct rl_conn_tls *t = RL_CONTAINER_OF(w, struct rl_conn_tls, work);

    t->result = rl_tls_stream_handshake(&t->stream);
}

static void begin_work(rl_conn *c)
{
    struct rl_conn_tls *t = c->tls;

    t->stream.in = t->came.data;
    t->stream.nin = t->came.len;
    t->work.loop = c->all->loop;
    c->busy = true;
    rl_conn_update_mask(c);
    rl_offload_do(rl_tls_offload(t->keys), &t->work);
}

/* Say what there is to say, and close; the owner never heard of it. */
static void handshake_failed(rl_conn *c)
{
    char host[RL_HOST_MAX];
    rl_address peer = rl_conn_peer(c);

    rl_debug("TLS: no handshake with %s: %s", rl_address_text(&peer, host), c->tls->stream.why);
    c->error = EPROTO;
    c->finishing = true;
    rl_conn_flush_now(c);
}

static void handshake_done(rl_conn *c)
{
    struct rl_conn_tls *t = c->tls;

    send_rest(c);
    if (t->stream.nin && !c->closed) { /* a quick peer */
        take(c);
        send_rest(c);
    }
    rl_buf_fini(&t->came);
}

static void worked(rl_work *w)
{
    struct rl_conn_tls *t = RL_CONTAINER_OF(w, struct rl_conn_tls, work);
    rl_conn *c = t->conn;

    c->busy = false;
    if (c->closed) {
        rl_conn_rebury(c);
        return;
    }
    rl_conn_update_mask(c);
    if (t->result == 1) {
        handshake_done(c);
        return;
    }
    rl_buf_fini(&t->came); /* all of it is in the SSL */
    if (t->result < 0)
        handshake_failed(c);
    else
        send_rest(c);
}

void rl_conn_tls_readable(rl_conn *c)
{
    struct rl_conn_tls *t = c->tls;
    char *back = c->all->loop->recv + BACK;

    if (c->busy) { /* nothing but a reset is told of meanwhile */
        rl_conn_doom(c, ECONNRESET);
        return;
    }
    ssize_t n = recv(c->fd, back, RL_LOOP_RECV_SIZE - BACK, 0);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            rl_conn_doom(c, errno);
    } else if (n == 0) {
        if (!t->stream.ended)
            t->stream.why = "cut off: the peer did not end its TLS";
        rl_conn_doom(c, t->stream.ended ? 0 : ECONNABORTED);
    } else if (!t->stream.open) {
        rl_buf_add(&t->came, back, (size_t)n);
        begin_work(c);
    } else if (!t->stream.ended) {
        t->stream.in = back;
        t->stream.nin = (size_t)n;
        take(c);
        send_rest(c);
    }
}

/* Writing */

/* So much of the cork that it is worth a send; and the end, behind all of it. */
static void seal(rl_conn *c)
{
    struct rl_conn_tls *t = c->tls;
    size_t left = rl_conn_pending(c) - t->sealed;
    size_t n = left < SEAL_AT_ONCE - t->sealed ? left : SEAL_AT_ONCE - t->sealed;

    rl_conns_lend(c->all, &t->stream.out, n);
    if (n)
        rl_tls_stream_seal(&t->stream, c->out.data + c->sent + t->sealed, n);
    t->sealed += (uint32_t)n;
    if (c->finishing && n == left)
        rl_tls_stream_end(&t->stream);
}

/* All of stream.out is in the kernel, and so is what it was made of. */
static void left_all(rl_conn *c)
{
    struct rl_conn_tls *t = c->tls;

    c->sent += t->sealed;
    c->delivered += t->sealed;
    t->sealed = t->gone = 0;
    rl_conns_take_back(c->all, &t->stream.out);
}

uint32_t rl_conn_tls_under_way(const rl_conn *c)
{
    return c->tls->gone;
}

void rl_conn_tls_flush(rl_conn *c)
{
    struct rl_conn_tls *t = c->tls;

    if (c->busy || (c->finishing && !t->stream.open && !t->stream.broken)) {
        if (c->finishing)
            rl_conn_doom(c, 0); /* nothing was said that needs an end */
        return;
    }
    if (t->stream.open && ciphertext(t) == 0 && (rl_conn_pending(c) || c->finishing))
        seal(c);
    if (ciphertext(t)) {
        ssize_t n = send(c->fd, t->stream.out.data + t->gone, ciphertext(t), MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
            rl_conn_doom(c, errno);
            return;
        }
        t->gone += n > 0 ? (uint32_t)n : 0;
    }
    size_t left = ciphertext(t);
    if (left == 0)
        left_all(c);
    if (t->stream.open)
        left += rl_conn_pending(c);
    rl_conn_settled(c, left);
}

/* Beginning and end */

void rl_conn_tls_open(rl_conn *c, rl_tls *keys)
{
    struct rl_conn_tls *t = rl_calloc(1, sizeof(*t));

    rl_tls_stream_init(&t->stream, keys);
    t->conn = c;
    t->keys = keys;
    t->work.fn = work;
    t->work.done = worked;
    c->tls = t;
    c->bulk = true; /* no slot of a batch: its bytes are not for its owner */
}

void rl_conn_tls_free(rl_conn *c)
{
    struct rl_conn_tls *t = c->tls;

    /* The peer ended first, and in order: so do we. */
    if (t->stream.ended && !c->by_us && !c->error && !t->stream.said && ciphertext(t) == 0) {
        rl_tls_stream_end(&t->stream);
        (void)!send(c->fd, t->stream.out.data, t->stream.out.len, MSG_NOSIGNAL);
    }
    rl_tls_stream_fini(&t->stream);
    rl_buf_fini(&t->came);
    rl_free(t);
    c->tls = NULL;
}

const char *rl_conn_tls_why(const rl_conn *c)
{
    return c->tls->stream.why;
}

bool rl_conn_is_tls(const rl_conn *c)
{
    return c->tls != NULL;
}

bool rl_conn_tls_facts(const rl_conn *c, rl_tls_facts *out)
{
    if (!c->tls || !c->tls->stream.open)
        return false;
    rl_tls_stream_describe(&c->tls->stream, out);
    return true;
}
