/* pace.c - echoes at a steady rate, whether or not the server keeps up.
 *
 * Message k is due at k / rate seconds, on connection k modulo all of them, and
 * its time counts from when it was due, not from when it could be sent: a
 * server that stalls is charged for everybody who had to wait (no coordinated
 * omission).
 */
#include "load.h"

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
        turn(l, 0); /* spins: its core is its own, and a wake-up would cost more
                       than a gap */
    }
}
