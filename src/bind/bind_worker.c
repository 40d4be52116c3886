/* The worker itself: where events begin, which generation of the code runs. */
#include "bind/bind.h"

#include "core/consumer.h"

/* entries{ open =, receive =, message =, event =, disconnect =, adopt =, background =, page = }:
 * where events begin. */
static int l_entries(lua_State *L)
{
    static const char *const names[RL_ENTRY_COUNT] = {
        [RL_ENTRY_OPEN] = "open",
        [RL_ENTRY_RECEIVE] = "receive",
        [RL_ENTRY_MESSAGE] = "message",
        [RL_ENTRY_DISCONNECT] = "disconnect",
        [RL_ENTRY_ADOPT] = "adopt",
        [RL_ENTRY_EVENT] = "event",
        [RL_ENTRY_BACKGROUND] = "background",
        [RL_ENTRY_LEAVE] = "leave",
        [RL_ENTRY_ARRIVE] = "arrive",
        [RL_ENTRY_PAGE] = "page",
    };
    rl_worker *w = rl_worker_of(L);
    luaL_checktype(L, 1, LUA_TTABLE);

    for (int i = 0; i < RL_ENTRY_COUNT; i++) {
        lua_getfield(L, 1, names[i]);
        luaL_checktype(L, -1, LUA_TFUNCTION);
        luaL_unref(L, LUA_REGISTRYINDEX, w->entries[i]);
        w->entries[i] = rl_vm_ref(L);
    }
    return 0;
}

/* generation(serving or nil, before or nil) -> the one that serves. Everybody looks at their next
 * event whether another one is theirs now. */
static int l_generation(lua_State *L)
{
    rl_generations *gs = &rl_worker_of(L)->generations;
    lua_Integer serving = luaL_optinteger(L, 1, 0), before = luaL_optinteger(L, 2, 0);
    luaL_argcheck(L, serving >= 0, 1, "a number above 0 expected");
    luaL_argcheck(L, before >= 0, 2, "a number above 0 expected");

    if (!lua_isnoneornil(L, 1))
        rl_worker_change(rl_worker_of(L), (unsigned)serving, (unsigned)before);
    lua_pushinteger(L, (lua_Integer)gs->serving->number);
    return 1;
}

/* generations() -> { { number =, consumers =, events =, failed = }, … }: that somebody runs, and
 * those kept */
static int l_generations(lua_State *L)
{
    const rl_generations *gs = &rl_worker_of(L)->generations;

    lua_createtable(L, (int)gs->n, 0);
    for (unsigned i = 0; i < gs->n; i++) {
        const rl_generation *g = gs->at[i];
        lua_createtable(L, 0, 4);
        lua_pushinteger(L, (lua_Integer)g->number);
        lua_setfield(L, -2, "number");
        lua_pushinteger(L, (lua_Integer)g->consumers);
        lua_setfield(L, -2, "consumers");
        lua_pushnumber(L, (double)g->events);
        lua_setfield(L, -2, "events");
        lua_pushnumber(L, (double)g->failed);
        lua_setfield(L, -2, "failed");
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

/* stale(at, most) -> selfs, at or nil: a walk over those who have not looked since the last change;
 * at is 0 at the beginning, nil at the end. */
static int l_stale(lua_State *L)
{
    rl_worker *w = rl_worker_of(L);
    lua_Number from = luaL_checknumber(L, 1);
    int most = (int)luaL_checkinteger(L, 2), n = 0;
    luaL_argcheck(L, from >= 0 && from <= UINT32_MAX, 1, "where the walk is expected");
    uint32_t at = (uint32_t)from;
    rl_consumer *c = NULL;

    lua_newtable(L);
    while (most-- > 0 && (c = rl_roster_next(&w->roster, &at))) {
        if (!c->bound || c->pinned || c->epoch == w->generations.epoch ||
            c->state == RL_CONSUMER_LEAVING)
            continue;
        lua_rawgeti(L, LUA_REGISTRYINDEX, c->self);
        lua_rawseti(L, -2, ++n);
    }
    if (!c)
        return 1;
    lua_pushnumber(L, at);
    return 2;
}

/* places() -> { place, … } among the server's, of the sets of limits that serve */
static int l_places(lua_State *L)
{
    const rl_worker *w = rl_worker_of(L);

    lua_createtable(L, (int)w->nplaces, 0);
    for (unsigned i = 0; i < w->nplaces; i++) {
        lua_pushinteger(L, w->places[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

/* census() -> { consumers =, tasks =, connections =, leases =, memory =, dropped = }: what is
 * alive, and what sources told in vain, for tests and the curious. */
static int l_census(lua_State *L)
{
    rl_worker *w = rl_worker_of(L);
    unsigned leases = 0;

    for (unsigned i = 0; i < w->ndbs; i++)
        if (w->dbs[i]) {
            rl_db_stats stats;
            rl_db_stats_of(w->dbs[i], &stats);
            leases += stats.leased;
        }
    lua_createtable(L, 0, 6);
    lua_pushinteger(L, (lua_Integer)leases);
    lua_setfield(L, -2, "leases");
    lua_pushinteger(L, (lua_Integer)w->roster.count);
    lua_setfield(L, -2, "consumers");
    lua_pushinteger(L, (lua_Integer)w->vm.ntasks);
    lua_setfield(L, -2, "tasks");
    lua_pushinteger(L, (lua_Integer)w->conns.count);
    lua_setfield(L, -2, "connections");
    lua_pushnumber(L, (double)w->vm.used);
    lua_setfield(L, -2, "memory");
    lua_pushnumber(L, (double)w->dropped);
    lua_setfield(L, -2, "dropped");
    return 1;
}

/* place() -> which worker of how many this is; the first is 0 */
static int l_place(lua_State *L)
{
    rl_worker *w = rl_worker_of(L);

    lua_pushinteger(L, (lua_Integer)w->index);
    lua_pushinteger(L, (lua_Integer)atomic_load(&w->crew->count));
    return 2;
}

/* counters() -> { stalled =, … }: what was refused, dropped and cut off so far (base/counters.h).
 */
static int l_counters(lua_State *L)
{
    const rl_counters *counters = &rl_worker_of(L)->loop.counters;

    lua_createtable(L, 0, (int)rl_counter_count);
    for (size_t i = 0; i < rl_counter_count; i++) {
        lua_pushnumber(L, (double)rl_counter_at(counters, &rl_counter_infos[i]));
        lua_setfield(L, -2, rl_counter_infos[i].name);
    }
    return 1;
}

/* compression() -> { deflated =, inflated =, streams = }: messages, one for several counted once;
 * deflaters and inflaters there are */
static int l_compression(lua_State *L)
{
    const rl_deflate_shared *shared = &rl_worker_of(L)->server.deflate;

    lua_createtable(L, 0, 3);
    lua_pushnumber(L, (double)shared->deflated);
    lua_setfield(L, -2, "deflated");
    lua_pushnumber(L, (double)shared->inflated);
    lua_setfield(L, -2, "inflated");
    lua_pushnumber(L, (double)shared->streams);
    lua_setfield(L, -2, "streams");
    return 1;
}

/* route(kind, pattern, consumer's name) -> the number it is counted under */
static int l_route(lua_State *L)
{
    rl_str kind = rl_check_str(L, 1), pattern = rl_check_str(L, 2), name = rl_check_str(L, 3);

    lua_pushinteger(L, (lua_Integer)rl_routes_add(&rl_worker_of(L)->routes, kind, pattern, name));
    return 1;
}

/* uses(path[, fd]): the script depends on what this file holds, or on its not being there; where
 * files are watched, what it holds now, at fd if it is open there, is what changes are from */
static int l_uses(lua_State *L)
{
    rl_worker *w = rl_worker_of(L);
    const char *path = luaL_checkstring(L, 1);

    if (w->uses)
        w->uses(w, path, (int)luaL_optinteger(L, 2, -1));
    return 0;
}

static const luaL_Reg functions[] = {
    {"uses", l_uses},
    {"route", l_route},
    {"place", l_place},
    {"entries", l_entries},
    {"generation", l_generation},
    {"generations", l_generations},
    {"stale", l_stale},
    {"places", l_places},
    {"census", l_census},
    {"counters", l_counters},
    {"compression", l_compression},
    {NULL, NULL},
};

int rl_open_worker(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
