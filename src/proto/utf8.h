/* utf8.h - is this UTF-8? RFC 3629: no overlong forms, no surrogates, nothing
 * above U+10FFFF.
 *
 * A text may come in pieces cut anywhere, also inside a character: feed them in order
 * and ask rl_utf8_complete() behind the last. Text that can no longer become valid is
 * refused at its first wrong byte. A zeroed rl_utf8 is a fresh one. */
#ifndef RL_PROTO_UTF8_H
#define RL_PROTO_UTF8_H

#include "base/str.h"

typedef struct rl_utf8 {
    uint8_t wanted; /* continuation bytes the open character still lacks */
    uint8_t least;  /* the next of them is at least this, */
    uint8_t most;   /* and at most this; both mean nothing while wanted is 0 */
} rl_utf8;

/* False: not UTF-8, whatever follows; u is of no further use. */
bool rl_utf8_feed(rl_utf8 *u, const char *p, size_t n) RL_MUST_USE;

static inline bool rl_utf8_complete(const rl_utf8 *u) /* no character is left open */
{
    return u->wanted == 0;
}

bool rl_utf8_valid(rl_str s); /* all of it at once */

#endif
