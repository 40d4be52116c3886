/* wire.c - frames out, replies in.
 *
 * One recv and one send per readable socket, however many messages the recv
 * brought; many of them in one call where gather.c has them. All frames are masked beforehand:
 * `ring` holds a power of two of them, twice in a row, so that whatever a connection owes is one
 * contiguous run from its own offset, and the reply to its n-th message must carry the payload of
 * frame n modulo the cycle. Lengths and kinds are checked on every reply, contents on one in
 * sixteen.
 */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
    SAMPLE = 16, /* contents of one reply in so many are compared */
};

size_t frame_put(uint8_t *out, uint8_t op, const uint8_t *payload, size_t n, uint32_t mask)
{
    size_t head = 2;

    out[0] = 0x80 | op;
    if (n < 126) {
        out[1] = 0x80 | (uint8_t)n;
    } else if (n < 65536) {
        out[1] = 0x80 | 126;
        out[2] = (uint8_t)(n >> 8);
        out[3] = (uint8_t)n;
        head = 4;
    } else {
        out[1] = 0x80 | 127;
        for (unsigned i = 0; i < 8; i++)
            out[2 + i] = (uint8_t)((uint64_t)n >> (56 - 8 * i));
        head = 10;
    }
    memcpy(out + head, &mask, 4);
    for (size_t i = 0; i < n; i++)
        out[head + 4 + i] = payload[i] ^ out[head + i % 4];
    return head + 4 + n;
}

void make_frames(struct load *l)
{
    size_t head = l->size < 126 ? 6 : l->size < 65536 ? 8 : 14;

    for (l->cycle = l->mode[0] == 'p' ? 1024 : 8; l->cycle < l->outstanding;)
        l->cycle *= 2;
    l->frame_len = head + l->size;
    l->payloads = allocate(l->cycle, l->size + 1);
    l->ring = allocate(2 * (size_t)l->cycle, l->frame_len);

    for (uint32_t i = 0; i < l->cycle; i++) {
        uint8_t *payload = l->payloads + i * l->size;

        for (size_t j = 0; j < l->size; j++)
            payload[j] = (uint8_t)('a' + (i * 7 + j) % 26);
        frame_put(l->ring + i * l->frame_len, OP_TEXT, payload, l->size, 0x9e3779b9u * (i + 1));
    }
    memcpy(l->ring + l->cycle * l->frame_len, l->ring, l->cycle * l->frame_len);
}

/* Sending */

void watch(struct load *l, struct conn *c, int op, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = c};

    if (epoll_ctl(l->epoll, op, c->fd, &ev) < 0)
        fail("epoll_ctl: %s", strerror(errno));
}

void send_small(struct conn *c, const uint8_t *frame, size_t n)
{
    if (send(c->fd, frame, n, MSG_NOSIGNAL) != (ssize_t)n)
        fail("a frame of %zu bytes could not be sent: %s", n, strerror(errno));
}

void flush(struct load *l, struct conn *c)
{
    size_t cycle_len = l->cycle * l->frame_len;

    while (c->out_owed > 0) {
        size_t run = c->out_owed < cycle_len ? c->out_owed : cycle_len;
        ssize_t n = send(c->fd, l->ring + c->out_at, run, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN)
            fail("send: %s", strerror(errno));
        if (n < 0)
            break;
        c->out_at = (c->out_at + (size_t)n) % cycle_len;
        c->out_owed -= (size_t)n;
    }
    if ((c->out_owed > 0) != c->wants_out) {
        c->wants_out = c->out_owed > 0;
        watch(l, c, EPOLL_CTL_MOD, c->wants_out ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
}

void send_echoes(struct load *l, struct conn *c, uint32_t n, uint64_t now)
{
    for (uint32_t i = 0; i < n; i++)
        c->sent_at[c->sent++ & (l->cycle - 1)] = now;
    c->out_owed += n * l->frame_len;
    flush(l, c);
}

void send_walk(struct load *l, struct conn *c, uint64_t now)
{
    char text[16];
    uint8_t frame[32];
    int n;

    l->next_id = l->next_id + l->chain > l->last ? l->chain : l->next_id + l->chain;
    c->id = l->next_id;
    c->sent_at[0] = now;
    n = snprintf(text, sizeof(text), "%u", c->id);
    gather_send(l, c, frame, frame_put(frame, OP_TEXT, (uint8_t *)text, (size_t)n, 0x5bd1e995u));
}

/* Receiving */

static void check_echo(struct load *l, struct conn *c, const uint8_t *bytes, size_t n, uint64_t now)
{
    uint32_t slot = c->seen & (l->cycle - 1);
    size_t want = l->raw ? l->frame_len : l->size;
    const uint8_t *like = (l->raw ? l->ring : l->payloads) + slot * want;

    if (n != want)
        fail("sent %zu bytes, got %zu back", want, n);
    if (c->seen == c->sent)
        fail("more replies than messages");
    if (c->seen % SAMPLE == 0 && memcmp(bytes, like, n) != 0)
        fail("reply %u of a connection is not what was sent", c->seen);
    count(l, now - c->sent_at[slot]);
    c->seen++;
    c->answered++;
}

/* The lines are "folder N", N from the id that was sent down to the first of
 * its chain. */
static void check_walk(struct load *l, struct conn *c, const uint8_t *bytes, size_t n, uint64_t now)
{
    char want[32];
    int len = c->id ? snprintf(want, sizeof(want), "folder %u", c->id)
                    : snprintf(want, sizeof(want), ".");

    if (n != (size_t)len || memcmp(bytes, want, n) != 0)
        fail("walk: wanted \"%s\", got \"%.*s\"", want, (int)n, (const char *)bytes);
    if (c->id) {
        if (l->counting)
            l->messages++;
        c->id = (c->id - 1) % l->chain ? c->id - 1 : 0;
        return;
    }
    if (l->counting) {
        l->walks++;
        histogram_add(l, now - c->sent_at[0]);
    }
    send_walk(l, c, now);
}

static void on_frame(struct load *l, struct conn *c, uint8_t op, uint8_t *payload, size_t n,
                     uint64_t now)
{
    uint8_t pong[160];

    if (op == (0x80 | OP_PING) && n < 126)
        send_small(c, pong, frame_put(pong, OP_PONG, payload, n, 0));
    else if (op != (0x80 | OP_TEXT))
        fail("the server sent a frame that begins with 0x%02x", op);
    else if (l->mode[0] == 'e' || l->mode[0] == 'p')
        check_echo(l, c, payload, n, now);
    else if (l->mode[0] == 'w')
        check_walk(l, c, payload, n, now);
    else if (l->mode[0] == 's')
        check_select(l, c, payload, n, now);
    else if (l->mode[0] == 'f')
        check_delivery(l, c, payload, n, now);
    else
        fail("the server spoke first");
}

/* Returns the bytes of the frame at hand, 0 when it is not all there. */
static size_t take_frame(struct load *l, struct conn *c, uint8_t *at, size_t len, uint64_t now)
{
    uint64_t n;
    size_t head = 2;

    if (l->raw) {
        if (len < l->frame_len)
            return 0;
        if (l->mode[0] == 'f')
            check_delivery(l, c, at, l->frame_len, now);
        else
            check_echo(l, c, at, l->frame_len, now);
        return l->frame_len;
    }
    if (len < 2)
        return 0;
    n = at[1];
    head = n == 126 ? 4 : n == 127 ? 10 : 2;
    if (n > 127)
        fail("the server masks its frames");
    if (len < head)
        return 0;
    if (head > 2) {
        n = 0;
        for (size_t i = 2; i < head; i++)
            n = n << 8 | at[i];
    }
    if (n > IN_SIZE / 2)
        fail("the server sent a frame of %llu bytes", (unsigned long long)n);
    if (len < head + n)
        return 0;
    on_frame(l, c, at[0], at + head, n, now);
    return head + n;
}

void keep_tail(struct conn *c, const uint8_t *bytes, size_t n)
{
    c->tail_len = n;
    if (n == 0)
        return;
    if (!c->tail)
        c->tail = allocate(1, IN_SIZE / 2);
    if (n > IN_SIZE / 2)
        fail("an incomplete frame of %zu bytes", n);
    memcpy(c->tail, bytes, n);
}

/* len bytes at `bytes`, of which the last n came with a recv that was answered so. */
static void take(struct load *l, struct conn *c, uint8_t *bytes, size_t len, ssize_t n)
{
    size_t at = 0, used;
    uint64_t now;

    if (n == -EAGAIN)
        return;
    if (n <= 0)
        fail("the server closed a connection: %s", n < 0 ? strerror((int)-n) : "end of stream");

    now = now_ns();
    c->answered = 0;
    while ((used = take_frame(l, c, bytes + at, len - at, now)) > 0)
        at += used;
    keep_tail(c, bytes + at, len - at);
    if (c->answered && l->mode[0] == 's')
        send_selects(l, c, now);
    else if (c->answered && l->mode[0] == 'e')
        send_echoes(l, c, c->answered, now);
}

void take_received(struct load *l, struct conn *c, uint8_t *bytes, ssize_t n)
{
    take(l, c, bytes, n > 0 ? (size_t)n : 0, n);
}

void on_readable(struct load *l, struct conn *c)
{
    size_t kept = c->tail_len;
    ssize_t n;

    memcpy(l->in, c->tail ? c->tail : l->in, kept);
    n = recv(c->fd, l->in + kept, IN_SIZE - kept, 0);
    take(l, c, l->in, kept + (n > 0 ? (size_t)n : 0), n < 0 ? -errno : n);
}
