#include "db/pace.h"

enum { MOST = 1024, ENOUGH = 3 };

/* In place of a pointer: a few runs and a mean in one word, so that nothing is allocated. */
typedef struct pace {
    uint32_t runs; /* up to ENOUGH */
    uint32_t us;
} pace;

static pace pace_of(const void *value)
{
    uintptr_t word = (uintptr_t)value;

    return (pace){(uint32_t)(word & 3), (uint32_t)(word >> 2)};
}

static void *word_of(pace p)
{
    return (void *)((uintptr_t)p.us << 2 | p.runs);
}

void rl_paces_fini(rl_paces *p)
{
    rl_map_fini(&p->by_sql);
}

static bool is_quick(pace at)
{
    return at.runs == ENOUGH && at.us < RL_PACE_QUICK;
}

bool rl_paces_is_quick(const rl_paces *p, rl_str sql)
{
    return is_quick(pace_of(rl_map_get(&p->by_sql, sql)));
}

void rl_paces_learn(rl_paces *p, rl_str sql, uint64_t us)
{
    pace at = pace_of(rl_map_get(&p->by_sql, sql));
    bool was_quick = is_quick(at);
    uint32_t now = us < UINT32_MAX / 8 ? (uint32_t)us : UINT32_MAX / 8;

    if (at.runs == 0 && p->by_sql.len >= MOST) {
        rl_map_fini(&p->by_sql);
        p->by_sql = (rl_map){0};
        p->changes++;
    }
    at.us = at.runs ? (uint32_t)(((uint64_t)at.us * 3 + now) / 4) : now;
    at.runs += at.runs < ENOUGH;
    p->changes += is_quick(at) != was_quick;
    rl_map_put(&p->by_sql, sql, word_of(at));
}
