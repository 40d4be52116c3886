#include "proto/utf8.h"

/* The first byte of a character decides how many follow and narrows the second: that
 * is where overlong forms, surrogates and too large code points show (RFC 3629
 * section 4). So the state between two pieces is a count and a range. */

#define HIGH_BITS UINT64_C(0x8080808080808080)

/* The first byte at or after p that is not ASCII, or end. */
static const char *skip_ascii(const char *p, const char *end)
{
    for (uint64_t word[2]; end - p >= 16; p += 16) {
        memcpy(word, p, 16);
        if ((word[0] | word[1]) & HIGH_BITS)
            break;
    }
    while (p < end && !(*p & 0x80))
        p++;
    return p;
}

static bool begin(rl_utf8 *u, uint8_t lead)
{
    u->least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    u->most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    u->wanted = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    return lead >= 0xc2 && lead <= 0xf4;
}

bool rl_utf8_feed(rl_utf8 *u, const char *p, size_t n)
{
    const char *end = p + n;
    rl_utf8 now = *u; /* a local the compiler can keep in registers */

    while (p < end) {
        uint8_t byte = (uint8_t)*p;

        if (now.wanted) {
            if (byte < now.least || byte > now.most)
                return false;
            now = (rl_utf8){(uint8_t)(now.wanted - 1), 0x80, 0xbf};
            p++;
        } else if (byte < 0x80) {
            p = skip_ascii(p, end);
        } else {
            if (!begin(&now, byte))
                return false;
            p++;
        }
    }
    *u = now;
    return true;
}

bool rl_utf8_valid(rl_str s)
{
    rl_utf8 u = {0};

    return rl_utf8_feed(&u, s.p, s.n) && rl_utf8_complete(&u);
}
