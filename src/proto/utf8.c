#include "proto/utf8.h"

/* The first byte of a character decides how many follow and narrows the second: that
 * is where overlong forms, surrogates and too large code points show (RFC 3629
 * section 4). So the state between two pieces is a count and a range. */

#define HIGH_BITS UINT64_C(0x8080808080808080)

typedef uint64_t lane __attribute__((vector_size(16)));

/* The first byte at or after p that is not ASCII, or end. One test for a cache line's worth. */
static const char *skip_ascii(const char *p, const char *end)
{
    for (lane a, b, c, d; end - p >= 64; p += 64) {
        memcpy(&a, p, 16);
        memcpy(&b, p + 16, 16);
        memcpy(&c, p + 32, 16);
        memcpy(&d, p + 48, 16);
        a = (a | b) | (c | d);
        if ((a[0] | a[1]) & HIGH_BITS)
            break;
    }
    for (uint64_t word[2]; end - p >= 16; p += 16) {
        memcpy(word, p, 16);
        if ((word[0] | word[1]) & HIGH_BITS)
            break;
    }
    for (uint32_t half; end - p >= 4; p += 4) { /* what is short counts most */
        memcpy(&half, p, 4);
        if (half & (uint32_t)HIGH_BITS)
            break;
    }
    while (p < end && !(*p & 0x80))
        p++;
    return p;
}

/* False: no character begins with this byte. */
static inline bool begin(rl_utf8 *u, uint8_t lead)
{
    if (lead < 0xe0)
        *u = (rl_utf8){1, 0x80, 0xbf};
    else if (lead < 0xf0)
        *u = (rl_utf8){2, lead == 0xe0 ? 0xa0 : 0x80, lead == 0xed ? 0x9f : 0xbf};
    else
        *u = (rl_utf8){3, lead == 0xf0 ? 0x90 : 0x80, lead == 0xf4 ? 0x8f : 0xbf};
    return lead >= 0xc2 && lead <= 0xf4;
}

static bool follows(char c)
{
    return ((uint8_t)c & 0xc0) == 0x80;
}

/* Step over whole characters while four bytes lie ahead; what stops it is either near
 * the end or wrong, and left to the careful way. */
static const char *skip_whole(const char *p, const char *end)
{
    rl_utf8 u;

    while (end - p >= 4) {
        if (!(*p & 0x80)) {
            p = skip_ascii(p, end);
            continue;
        }
        if (!begin(&u, (uint8_t)p[0]) || (uint8_t)p[1] < u.least || (uint8_t)p[1] > u.most)
            break;
        if ((u.wanted > 1 && !follows(p[2])) || (u.wanted > 2 && !follows(p[3])))
            break;
        p += 1 + u.wanted;
    }
    return p;
}

bool rl_utf8_feed(rl_utf8 *u, const char *p, size_t n)
{
    const char *end = p + n;
    rl_utf8 now = *u; /* a local the compiler can keep in registers */

    while (p < end) {
        if (!now.wanted)
            p = skip_whole(p, end);
        if (p == end)
            break;

        uint8_t byte = (uint8_t)*p;
        if (now.wanted) {
            if (byte < now.least || byte > now.most)
                return false;
            now = (rl_utf8){(uint8_t)(now.wanted - 1), 0x80, 0xbf};
        } else if (byte >= 0x80 && !begin(&now, byte)) {
            return false;
        }
        p++;
    }
    *u = now;
    return true;
}

bool rl_utf8_valid(rl_str s)
{
    rl_utf8 u = {0};
    const char *end = s.p + s.n, *p = skip_ascii(s.p, end);

    return p == end || (rl_utf8_feed(&u, p, (size_t)(end - p)) && rl_utf8_complete(&u));
}
