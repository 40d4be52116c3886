/* Generations: counted while somebody runs them, kept while they serve or may again. */
#include "unit.h"

#include "core/generation.h"

static unsigned forgotten;

static void forget(rl_generations *gs, rl_generation *g)
{
    forgotten++;
}

static bool knows(const rl_generations *gs, unsigned number)
{
    for (unsigned i = 0; i < gs->n; i++)
        if (gs->at[i]->number == number)
            return true;
    return false;
}

static void serves_nothing_at_first(void)
{
    rl_generations gs;

    rl_generations_init(&gs, forget);
    CHECK_INT(gs.serving->number, 0);
    CHECK(gs.before == NULL);
    rl_generations_change(&gs, 1, 0);
    CHECK_INT(gs.serving->number, 1);
    CHECK(!knows(&gs, 0)); /* nobody ran it */
    rl_generations_fini(&gs);
}

static void keeps_what_somebody_runs(void)
{
    unsigned before = forgotten;
    rl_generations gs;

    rl_generations_init(&gs, forget);
    rl_generations_change(&gs, 1, 0);
    rl_generation *one = rl_generations_enter(&gs, 1);
    rl_generations_change(&gs, 2, 1);
    rl_generations_change(&gs, 3, 2);
    CHECK(knows(&gs, 1) && one->consumers == 1);
    rl_generations_change(&gs, 4, 3);
    CHECK(knows(&gs, 1) && !knows(&gs, 2));
    CHECK(rl_generations_enter(&gs, 1) == one);
    rl_generations_leave(&gs, one);
    CHECK(knows(&gs, 1));
    rl_generations_leave(&gs, one);
    CHECK(!knows(&gs, 1));
    CHECK_INT(forgotten - before, 3); /* 0, 2 and 1 */
    CHECK_INT(gs.n, 2);
    rl_generations_fini(&gs);
}

static void goes_back_and_keeps_its_counts(void)
{
    rl_generations gs;

    rl_generations_init(&gs, forget);
    rl_generations_change(&gs, 1, 0);
    gs.serving->events = 10;
    rl_generations_change(&gs, 2, 1);
    unsigned epoch = gs.epoch;
    rl_generations_change(&gs, 1, 0);
    CHECK(gs.epoch != epoch);
    CHECK_INT(gs.serving->number, 1);
    CHECK_INT(gs.serving->events, 10);
    CHECK(gs.before == NULL && !knows(&gs, 2));
    rl_generations_fini(&gs);
}

static void has_a_place_for_whoever_names_a_stranger(void)
{
    rl_generations gs;

    rl_generations_init(&gs, forget);
    rl_generations_change(&gs, 7, 0);
    rl_generation *g = rl_generations_enter(&gs, 99);
    CHECK_INT(g->number, 7);
    rl_generations_leave(&gs, g);
    rl_generations_fini(&gs);
}

int main(void)
{
    serves_nothing_at_first();
    keeps_what_somebody_runs();
    goes_back_and_keeps_its_counts();
    has_a_place_for_whoever_names_a_stranger();
    return unit_done();
}
