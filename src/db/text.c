#include "db/text.h"

#include <limits.h>

static bool is_same(const rl_text *t, rl_str sql, rl_str many)
{
    return t && rl_str_eq(t->sql, sql) && rl_str_eq(t->many, many);
}

static rl_str put(char *at, rl_str s)
{
    if (s.n)
        memcpy(at, s.p, s.n);
    at[s.n] = '\0';
    return (rl_str){at, s.n};
}

static rl_text *text_new(rl_str sql, rl_str many)
{
    rl_text *t = rl_malloc(sizeof(*t) + sql.n + 1 + many.n + 1);
    char *bytes = (char *)(t + 1);

    *t = (rl_text){.holders = 1, .as_of = UINT_MAX};
    t->sql = put(bytes, sql);
    t->many = put(bytes + sql.n + 1, many);
    return t;
}

rl_text *rl_texts_take(rl_texts *ts, rl_str sql, rl_str many)
{
    rl_text **at = &ts->at[((uintptr_t)sql.p >> 4) % RL_COUNT(ts->at)];

    if (!is_same(*at, sql, many)) {
        if (memchr(sql.p, '\0', sql.n))
            return NULL;
        rl_text_drop(*at);
        *at = text_new(sql, many);
    }
    (*at)->holders++;
    return *at;
}

void rl_text_drop(rl_text *t)
{
    if (t && --t->holders == 0)
        rl_free(t);
}

void rl_texts_fini(rl_texts *ts)
{
    for (size_t i = 0; i < RL_COUNT(ts->at); i++)
        rl_text_drop(ts->at[i]);
    *ts = (rl_texts){0};
}

bool rl_text_is_quick(rl_text *t, const rl_paces *paces)
{
    if (t->as_of != paces->changes) {
        t->as_of = paces->changes;
        t->quick = rl_paces_is_quick(paces, t->sql);
    }
    return t->quick;
}
