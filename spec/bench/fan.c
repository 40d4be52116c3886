/* fan.c - one message in, a copy to every member.
 *
 * Every connection is a member of the server's one group; the first is the
 * publisher, too, unless it is elsewhere. It publishes the next message when the one before has
 * reached everybody, so that each message is one fan-out of the server's: nothing is batched that
 * was not said at once.
 *
 * In turns it pauses behind each window: who is measured beside it has the machine then.
 */
#include "load.h"

#include <string.h>

enum { SAMPLE = 16 }; /* contents of one delivery in so many are compared */

void publish(struct load *l, uint64_t now)
{
    l->reached = 0;
    send_echoes(l, &l->conns[0], 1, now);
}

void check_delivery(struct load *l, struct conn *c, const uint8_t *bytes, size_t n, uint64_t now)
{
    const struct conn *publisher = &l->conns[0];
    uint32_t slot = c->seen & (l->cycle - 1);
    size_t want = l->raw ? l->frame_len : l->size;
    const uint8_t *like = (l->raw ? l->ring : l->payloads) + slot * want;

    if (c->seen == publisher->sent)
        fail("a member got more than was published");
    if (n != want)
        fail("published %zu bytes, delivered %zu", want, n);
    if (c->seen % SAMPLE == 0 && memcmp(bytes, like, n) != 0)
        fail("message %u is not what was published", c->seen);
    count(l, now - publisher->sent_at[slot]);
    c->seen++;
    if (++l->reached < l->connections - l->apart)
        return;
    if (l->counting)
        l->whole[l->fans++ % FANS] = now - publisher->sent_at[slot];
    l->paused = l->turns && !l->counting && l->ended;
    if (!l->paused)
        publish(l, now);
}
