/* select.c - messages that vary: random numbers out, their answers back.
 *
 * Every answer is checked, and may come in any order: a server with several database
 * connections has no reason to keep that of its client. Whichever of the numbers that are out
 * it answers is the one that it is counted for; and as many are asked again, in one send.
 */
#include "load.h"

#include <stdio.h>

enum { FRAME = 16 }; /* a head of six bytes and at most seven digits */

/* Marsaglia's xorshift; any seed but 0. */
static uint32_t draw(struct load *l)
{
    if (l->dice == 0)
        l->dice = now_ns() | 1;
    l->dice ^= l->dice << 13;
    l->dice ^= l->dice >> 7;
    l->dice ^= l->dice << 17;
    return 1 + (uint32_t)((l->dice >> 32) % l->last);
}

void send_selects(struct load *l, struct conn *c, uint64_t now)
{
    uint8_t frames[OUTSTANDING * FRAME];
    char text[16];
    size_t len = 0;

    for (unsigned i = 0; i < l->outstanding; i++) {
        int n;

        if (c->asked[i])
            continue;
        c->asked[i] = draw(l);
        c->sent_at[i] = now;
        n = snprintf(text, sizeof(text), "%u", c->asked[i]);
        len += frame_put(frames + len, OP_TEXT, (uint8_t *)text, (size_t)n, 0x5bd1e995u);
    }
    gather_send(l, c, frames, len);
}

void check_select(struct load *l, struct conn *c, const uint8_t *bytes, size_t n, uint64_t now)
{
    uint32_t answer = 0;
    unsigned i = 0;

    for (size_t at = 0; at < n && n < 10; at++)
        answer = answer * 10 + (bytes[at] - (uint32_t)'0');
    while (i < l->outstanding && (c->asked[i] == 0 || c->asked[i] != l->sum - answer))
        i++;
    if (i == l->outstanding)
        fail("select: \"%.*s\" answers nothing that was asked", (int)n, (const char *)bytes);
    count(l, now - c->sent_at[i]);
    c->asked[i] = 0;
    c->answered++;
}
