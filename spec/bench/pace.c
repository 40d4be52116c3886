/* pace.c - echoes at a steady rate, whether or not the server keeps up.
 *
 * Message k is due at k / rate seconds, on connection k modulo all of them, and
 * its time counts from when it was due, not from when it could be sent: a
 * server that stalls is charged for everybody who had to wait (no coordinated
 * omission).
 */
#include "load.h"

enum { SETTLE_SECONDS = 30 };

void pace(struct load *l, uint64_t end)
{
    const uint64_t gap = (uint64_t)(1e9 / l->rate);
    uint64_t now;

    if (!l->due)
        l->due = now_ns();
    while ((now = now_ns()) < end) {
        for (; l->due <= now; l->due += gap) {
            struct conn *c = &l->conns[l->turn++ % l->connections];

            if (c->sent - c->seen == l->cycle)
                fail("%u messages of a connection are not answered yet", l->cycle);
            send_echoes(l, c, 1, l->due);
        }
        turn(l, l->calm ? 1 : 0); /* spins: its core is its own, and a wake-up would cost
                                     more than a gap */
    }
}

static uint32_t unanswered(const struct load *l)
{
    uint32_t n = 0;

    for (unsigned i = 0; i < l->connections; i++)
        n += l->conns[i].sent - l->conns[i].seen;
    return n;
}

uint64_t settle(struct load *l)
{
    const uint64_t end = now_ns() + SETTLE_SECONDS * UINT64_C(1000000000);
    uint64_t sent = 0;

    while (unanswered(l) > 0 && now_ns() < end)
        turn(l, 10);
    if (unanswered(l) > 0)
        fail("%u messages were never answered", unanswered(l));
    for (unsigned i = 0; i < l->connections; i++)
        sent += l->conns[i].sent;
    return sent;
}
