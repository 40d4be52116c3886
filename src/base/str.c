#include "base/str.h"

#include <strings.h>

bool rl_str_same(rl_str a, rl_str b)
{
    volatile unsigned char differs = a.n != b.n;

    for (size_t i = 0; i < a.n && b.n; i++)
        differs |= (unsigned char)(a.p[i] ^ b.p[i % b.n]);
    return !differs;
}

bool rl_str_eq_nocase(rl_str a, rl_str b)
{
    return a.n == b.n && strncasecmp(a.p, b.p, a.n) == 0;
}

bool rl_str_starts(rl_str s, rl_str prefix)
{
    return s.n >= prefix.n && memcmp(s.p, prefix.p, prefix.n) == 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

rl_str rl_str_trim(rl_str s)
{
    while (s.n && is_blank(s.p[0]))
        s.p++, s.n--;
    while (s.n && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool rl_str_cut(rl_str *rest, char sep, rl_str *part)
{
    if (!rest->p)
        return false;

    const char *at = rest->n ? memchr(rest->p, sep, rest->n) : NULL;
    *part = (rl_str){rest->p, at ? (size_t)(at - rest->p) : rest->n};
    *rest = at ? (rl_str){at + 1, rest->n - part->n - 1} : (rl_str){NULL, 0};
    return true;
}

bool rl_str_list_has(rl_str list, rl_str token)
{
    rl_str item;

    while (rl_str_cut(&list, ',', &item))
        if (rl_str_eq_nocase(rl_str_trim(item), token))
            return true;
    return false;
}

bool rl_str_to_u64(rl_str s, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;

    if (s.n == 0 || s.n > 20)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(s.p[i] - '0'), &value))
            return false;
    }
    if (value > max)
        return false;
    *out = value;
    return true;
}
