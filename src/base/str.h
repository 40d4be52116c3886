/* str.h - a borrowed slice of bytes: a pointer and a length, no terminator.
 *
 * Passed by value. Whoever holds one does not own the bytes; how long they live is
 * the lender's to say. */
#ifndef RL_BASE_STR_H
#define RL_BASE_STR_H

#include "base/base.h"

#include <string.h>

typedef struct rl_str {
    const char *p;
    size_t n;
} rl_str;

#define RL_STR(literal) ((rl_str){"" literal, sizeof(literal) - 1})

static inline rl_str rl_str_of(const char *s)
{
    return (rl_str){s, strlen(s)};
}

static inline bool rl_str_eq(rl_str a, rl_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* The same, in a time that does not tell where they differ: for secrets. */
bool rl_str_same(rl_str a, rl_str b);

/* ASCII letters compare alike in either case (RFC 9110 section 5.1). */
bool rl_str_eq_nocase(rl_str a, rl_str b);
bool rl_str_starts(rl_str s, rl_str prefix);
rl_str rl_str_trim(rl_str s); /* without spaces and tabs at either end */

/* Cut the part before the next `sep` off the front of *rest into *part. False once
 * rest->p is NULL, as it is after the last part; "a,,b" gives "a", "", "b". */
bool rl_str_cut(rl_str *rest, char sep, rl_str *part);

/* Does the comma-separated list (RFC 9110 section 5.6.1) name this token? */
bool rl_str_list_has(rl_str list, rl_str token);

/* All of s as a decimal number of at most `max`. False if it is anything else. */
bool rl_str_to_u64(rl_str s, uint64_t max, uint64_t *out);

#endif
