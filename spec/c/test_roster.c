/* Ids: found while their consumer lives, never mistaken for a later one's. */
#include "unit.h"

#include "core/roster.h"

static void finds_who_is_there(void)
{
    rl_roster r = {0};
    char people[1000];
    double ids[1000];

    for (int i = 0; i < 1000; i++)
        ids[i] = rl_roster_add(&r, (rl_consumer *)&people[i]);
    CHECK(rl_roster_find(&r, ids[999]) == (rl_consumer *)&people[999]);
    for (int i = 0; i < 1000; i += 2)
        rl_roster_remove(&r, ids[i]);
    CHECK_INT(r.count, 500);
    CHECK(rl_roster_find(&r, ids[0]) == NULL);

    double again = rl_roster_add(&r, (rl_consumer *)&people[0]); /* in a slot used before */
    for (int i = 0; i < 1000; i += 2)
        CHECK(rl_roster_find(&r, ids[i]) == NULL);
    CHECK(rl_roster_find(&r, again) == (rl_consumer *)&people[0]);

    uint32_t at = 0, seen = 0;
    while (rl_roster_next(&r, &at))
        seen++;
    CHECK_INT(seen, 501);
    rl_roster_remove(&r, again);
    for (int i = 1; i < 1000; i += 2)
        rl_roster_remove(&r, ids[i]);
    rl_roster_fini(&r);
}

static void takes_any_number(void)
{
    rl_roster r = {0};
    const double odd[] = {0, -1, 1, 0.5, 1e300, -1e300, 268435456.0, 9007199254740993.0};

    for (size_t i = 0; i < RL_COUNT(odd); i++)
        CHECK(rl_roster_find(&r, odd[i]) == NULL);
    CHECK(rl_roster_find(&r, __builtin_nan("")) == NULL);
}

int main(void)
{
    finds_who_is_there();
    takes_any_number();
    return unit_done();
}
