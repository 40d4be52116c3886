/* Wishes for changes: their turns, what is granted together, what is pointless by then. */
#include "unit.h"

#include "host/wish.h"

#include <string.h>

struct heard {
    int done, refused;
    char last[64];
};

static void hear(void *arg, bool done, const char *text)
{
    struct heard *h = arg;

    h->done += done;
    h->refused += !done;
    snprintf(h->last, sizeof(h->last), "%s", text);
}

static void wish(rl_wishes *ws, rl_change what, unsigned only, struct heard *h)
{
    rl_wishes_add(ws, &(rl_wish){.what = what, .only = only, .told = h ? hear : NULL, .arg = h});
}

static void grants_loads_together_and_the_rest_in_turn(void)
{
    struct heard loads = {0}, back = {0}, later = {0};
    rl_change what = RL_CHANGE_PROMOTE;
    rl_wishes ws;

    rl_wishes_init(&ws);
    CHECK(!rl_wishes_grant(&ws, 1, &what));
    wish(&ws, RL_CHANGE_LOAD, 0, &loads);
    wish(&ws, RL_CHANGE_LOAD, 0, NULL); /* nobody waits */
    wish(&ws, RL_CHANGE_LOAD, 0, &loads);
    wish(&ws, RL_CHANGE_ROLLBACK, 0, &back);
    wish(&ws, RL_CHANGE_ROLLBACK, 0, &back);
    wish(&ws, RL_CHANGE_LOAD, 0, &later);

    CHECK(rl_wishes_grant(&ws, 1, &what) && what == RL_CHANGE_LOAD);
    rl_wishes_tell(&ws, true, "loaded");
    CHECK_INT(loads.done, 2);
    CHECK_INT(later.done + back.done, 0);
    CHECK(rl_wishes_grant(&ws, 2, &what) && what == RL_CHANGE_ROLLBACK);
    rl_wishes_tell(&ws, true, "back");
    CHECK_INT(back.done, 1);
    CHECK(rl_wishes_grant(&ws, 1, &what) && what == RL_CHANGE_ROLLBACK);
    rl_wishes_tell(&ws, false, "nothing there");
    CHECK_INT(back.refused, 1);
    CHECK(strcmp(back.last, "nothing there") == 0);
    wish(&ws, RL_CHANGE_PROMOTE, 0, &back);
    rl_wishes_refuse(&ws, "stopping");
    CHECK_INT(later.refused, 1);
    CHECK_INT(back.refused, 2);
    rl_wishes_fini(&ws);
}

static void refuses_what_is_meant_for_a_generation_that_is_gone(void)
{
    struct heard old = {0}, now = {0};
    rl_change what;
    rl_wishes ws;

    rl_wishes_init(&ws);
    wish(&ws, RL_CHANGE_ROLLBACK, 2, &old);
    wish(&ws, RL_CHANGE_ROLLBACK, 3, &now);
    CHECK(rl_wishes_grant(&ws, 3, &what) && what == RL_CHANGE_ROLLBACK);
    CHECK_INT(old.refused, 1);
    CHECK_INT(now.refused, 0);
    rl_wishes_tell(&ws, true, "");
    CHECK_INT(now.done, 1);
    rl_wishes_fini(&ws);
}

static void tells_nobody_who_has_left(void)
{
    struct heard gone = {0}, there = {0};
    rl_change what;
    rl_wishes ws;

    rl_wishes_init(&ws);
    wish(&ws, RL_CHANGE_LOAD, 0, &gone);
    wish(&ws, RL_CHANGE_LOAD, 0, &there);
    CHECK(rl_wishes_grant(&ws, 1, &what));
    wish(&ws, RL_CHANGE_LOAD, 0, &gone);
    rl_wishes_forget(&ws, &gone);
    rl_wishes_tell(&ws, true, "");
    rl_wishes_refuse(&ws, "");
    CHECK_INT(gone.done + gone.refused, 0);
    CHECK_INT(there.done, 1);
    wish(&ws, RL_CHANGE_LOAD, 0, &gone); /* freed, unheard */
    rl_wishes_fini(&ws);
    CHECK_INT(gone.done + gone.refused, 0);
}

int main(void)
{
    grants_loads_together_and_the_rest_in_turn();
    refuses_what_is_meant_for_a_generation_that_is_gone();
    tells_nobody_who_has_left();
    return unit_done();
}
