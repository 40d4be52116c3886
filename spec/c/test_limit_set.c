/* Sets of limits: each is there for as long as somebody holds its place, and no longer, however
 * often they change. */
#include "unit.h"

#include "net/server.h"

#include <unistd.h>

static rl_loop loop;
static rl_conns conns;
static rl_server server;

static void nobody(rl_server *s, rl_http_conn *hc)
{
}

static const rl_server_events events = {.on_request = nobody};

static rl_limits limits(uint64_t ping)
{
    return (rl_limits){.max_message = 1000, .ping_interval = ping, .pong_timeout = ping + 1};
}

/* As a reload does: everybody's, and one route's; what was held for the load before goes. */
static uint16_t configure(uint64_t common, uint64_t ping, uint16_t *before)
{
    rl_limits sets[] = {limits(common), limits(ping)};
    uint16_t places[2];

    rl_server_configure(&server, &(rl_server_limits){0}, sets, 2, places);
    CHECK_INT(places[0], 0);
    rl_server_release(&server, places[0]);
    if (before)
        rl_server_release(&server, *before);
    return places[1];
}

static unsigned count_deadlines(void)
{
    unsigned n = 0;

    RL_LIST_EACH (it, &server.lists)
        n++;
    return n;
}

static void equal_sets_are_one(void)
{
    uint16_t one = configure(10000, 20000, NULL);
    rl_limits sets[] = {limits(10000), limits(20000), limits(30000), limits(20000)};
    uint16_t places[4];

    rl_server_configure(&server, &(rl_server_limits){0}, sets, 4, places);
    CHECK_INT(places[1], one);
    CHECK_INT(places[3], one);
    CHECK(places[2] != one && places[2] != 0);
    for (unsigned i = 0; i < 4; i++)
        rl_server_release(&server, places[i]);
    CHECK(server.sets[places[2]] == NULL);
    CHECK(server.sets[one] != NULL);
    rl_server_release(&server, one);
}

static void a_thousand_changes_leave_nothing(void)
{
    uint16_t place = configure(10000, 20000, NULL);
    unsigned most = server.nsets;

    configure(10000, 20001, NULL); /* of a connection that stays: it is never released */
    unsigned deadlines = count_deadlines();
    for (unsigned i = 0; i < 1000; i++) {
        place = configure(10000 + i, 30000 + i, &place);
        CHECK_INT(server.sets[place]->of.ping_interval, 30000 + i);
        CHECK_INT(server.sets[0]->of.ping_interval, 10000 + i);
    }
    CHECK(server.nsets <= most + 2);
    CHECK(count_deadlines() <= deadlines + 4);
    rl_server_release(&server, place);
}

static void what_is_held_stays(void)
{
    uint16_t place = configure(10000, 20000, NULL), held = 0;

    rl_server_hold(&server, held);
    rl_server_exchange(&server, &held, place);
    for (unsigned i = 0; i < 10; i++)
        place = configure(10000, 40000 + i, &place);
    CHECK(held != place);
    CHECK_INT(server.sets[held]->of.ping_interval, 20000);
    CHECK_INT(server.sets[held]->beats->after, 20000);
    CHECK_INT(server.sets[held]->pongs->after, 20001);
    uint16_t was = held;
    rl_server_exchange(&server, &held, 0);
    CHECK(server.sets[was] == NULL);
    rl_server_release(&server, held);
    rl_server_release(&server, place);
}

static void on_due(rl_timeout *t)
{
}

static void deadlines_that_run_stay(void)
{
    rl_timeout t;

    rl_timeout_init(&t);
    rl_timeouts *list = rl_server_deadlines(&server, 77777, on_due);
    rl_timeout_start(list, &t);
    uint16_t place = configure(10000, 20000, NULL);
    CHECK(rl_server_deadlines(&server, 77777, on_due) == list);
    rl_timeout_stop(&t);
    unsigned before = count_deadlines();
    place = configure(10000, 20000, &place);
    CHECK_INT(count_deadlines(), before - 1);
    rl_server_release(&server, place);
}

int main(void)
{
    alarm(60);
    CHECK_INT(rl_loop_init(&loop), 0);
    CHECK_INT(rl_conns_init(&conns, &loop), 0);
    rl_server_init(&server, &conns, &events);
    equal_sets_are_one();
    a_thousand_changes_leave_nothing();
    what_is_held_stays();
    deadlines_that_run_stay();
    rl_server_fini(&server);
    rl_conns_fini(&conns);
    rl_loop_fini(&loop);
    return unit_done();
}
