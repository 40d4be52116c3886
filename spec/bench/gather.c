/* gather.c - what a turn reads, and what it sends, in one system call each.
 *
 * Where a server, its database and the generator share two cores, what the generator spends is
 * missing elsewhere, and the most where the server is quickest. So select and walk take the answers
 * that have come together, and send what follows from them together. Nothing waits for that: it is
 * what is there anyway. One alone, and all where there is no io_uring, is a recv and a send.
 */
#include "load.h"

#include "io/batch.h"

#include <string.h>

enum {
    SLOT = 4096, /* what is read of a connection, or sent to it */
    STRIDE = SLOT + 64,
};

struct job {
    struct load *load;
    struct conn *conn;
    size_t n;
};

struct gather {
    rl_batch *recvs, *sends;
    struct job readers[RL_BATCH_MAX], writers[RL_BATCH_MAX];
    uint8_t in[RL_BATCH_MAX * STRIDE], out[RL_BATCH_MAX * STRIDE];
};

static void on_received(void *owner, char *p, ssize_t n)
{
    const struct job *job = owner;

    take_received(job->load, job->conn, (uint8_t *)p, n);
}

static void on_sent(void *owner, char *p, ssize_t n)
{
    const struct job *job = owner;

    (void)p;
    if (n != (ssize_t)job->n)
        fail("%zu bytes could not be sent: %s", job->n,
             n < 0 ? strerror((int)-n) : "the socket is full");
}

struct gather *gather_new(void)
{
    struct gather *g = allocate(1, sizeof(*g));

    g->recvs = rl_batch_new(RL_BATCH_RECV, on_received);
    g->sends = rl_batch_new(RL_BATCH_SEND, on_sent);
    return g;
}

void gather_recv(struct load *l, struct conn *c)
{
    struct gather *g = l->gather;
    unsigned i = rl_batch_len(g->recvs);

    g->readers[i] = (struct job){l, c, 0};
    rl_batch_add(g->recvs, c->fd, (char *)g->in + i * STRIDE, SLOT, &g->readers[i]);
    if (i + 1 == RL_BATCH_MAX)
        rl_batch_run(g->recvs);
}

void gather_send(struct load *l, struct conn *c, const uint8_t *bytes, size_t n)
{
    struct gather *g = l->gather;
    unsigned i = rl_batch_len(g->sends);

    if (n > SLOT) {
        send_small(c, bytes, n);
        return;
    }
    memcpy(g->out + i * STRIDE, bytes, n);
    g->writers[i] = (struct job){l, c, n};
    rl_batch_add(g->sends, c->fd, (char *)g->out + i * STRIDE, n, &g->writers[i]);
    if (i + 1 == RL_BATCH_MAX)
        rl_batch_run(g->sends);
}

void gather_run(struct load *l)
{
    rl_batch_run(l->gather->recvs); /* which have more to send */
    rl_batch_run(l->gather->sends);
}
