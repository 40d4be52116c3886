/* What a handler may do to its connection, by the number in self._id. */
#include "bind/bind_consumer.h"

#include "core/background.h"
#include "proto/utf8.h"

/* bind(id, self, own_send): self answers for this connection from now on. */
static int l_bind(lua_State *L)
{
    rl_consumer *c = rl_bind_find(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);

    if (!c)
        return rl_bind_gone(L);
    c->own_send = lua_toboolean(L, 3);
    rl_consumer_bind(c, L, 2);
    lua_pushboolean(L, true);
    return 1;
}

/* is_bound(id) -> is its disconnect still to come? */
static int l_is_bound(lua_State *L)
{
    rl_consumer *c = rl_bind_find(L, 1);

    lua_pushboolean(L, c && c->bound);
    return 1;
}

/* background(origin, patient) -> id: a consumer without a peer. dispatch.background makes its self
 * of the origin, a table, at the end of the turn. */
static int l_background(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);

    lua_pushnumber(L, rl_background_open(rl_worker_of(L), L, 1, lua_toboolean(L, 2))->id);
    return 1;
}

/* tick(id, name, due, skipped) -> true: it begins; false: its handler is under way; nil: it is
 * gone. An event "timer" for a consumer that has nothing else to do. */
static int l_tick(lua_State *L)
{
    const rl_field fields[] = {
        {.name = "name", .text = rl_check_str(L, 2)},
        {.name = "due", .number = luaL_checknumber(L, 3)},
        {.name = "skipped", .number = luaL_checknumber(L, 4)},
    };
    rl_consumer *c = rl_bind_find(L, 1);
    rl_ticked ticked = c ? rl_background_tick(c, "timer", fields, RL_COUNT(fields)) : RL_TICK_OVER;

    if (ticked == RL_TICK_OVER)
        return 0;
    lua_pushboolean(L, ticked == RL_TICK_BEGINS);
    return 1;
}

/* run(id, generation, own_send or nil): it runs this generation from now on; own_send as its class
 * says, if it has become another. */
static int l_run(lua_State *L)
{
    rl_consumer *c = rl_bind_find(L, 1);
    lua_Integer generation = luaL_checkinteger(L, 2);

    if (!c)
        return 0;
    rl_consumer_run(c, (unsigned)generation);
    if (!lua_isnoneornil(L, 3))
        c->own_send = lua_toboolean(L, 3);
    return 0;
}

/* pin(id): it stays with its generation. */
static int l_pin(lua_State *L)
{
    rl_consumer *c = rl_bind_find(L, 1);

    if (c)
        c->pinned = true;
    return 0;
}

/* unlogged(id): its request has no line in the access log. */
static int l_unlogged(lua_State *L)
{
    rl_consumer *c = rl_bind_find(L, 1);

    if (c)
        c->unlogged = true;
    return 0;
}

/* nudge(id): an event of its own, before which it takes its new class. */
static int l_nudge(lua_State *L)
{
    rl_consumer *c = rl_bind_find(L, 1);

    if (c)
        rl_consumer_nudge(c);
    return 0;
}

/* is_idle(id) -> has it nothing to do? */
static int l_is_idle(lua_State *L)
{
    rl_consumer *c = rl_bind_find(L, 1);

    lua_pushboolean(L, c && !c->task && !c->nqueued);
    return 1;
}

/* send(id, text or nil, bytes or nil) -> true | nil, error. The hot path: it asks Lua for no more
 * than it needs. */
static int l_send(lua_State *L)
{
    double id = luaL_checknumber(L, 1);
    bool text = !lua_isnoneornil(L, 2);
    size_t n;
    const char *p = luaL_checklstring(L, text ? 2 : 3, &n);
    rl_task *t = rl_task_current(L);
    rl_consumer *c = rl_roster_find(&RL_CONTAINER_OF(t->vm, rl_worker, vm)->roster, id);
    rl_err err;

    if (!c)
        return rl_bind_gone(L);
    if (text && !rl_utf8_valid((rl_str){p, n}))
        return luaL_argerror(L, 2, "text_data is not UTF-8 (send it as bytes_data)");
    int rc = rl_consumer_send(c, text, (rl_str){p, n}, &err);
    if (RL_UNLIKELY(rc < 0))
        return rl_failure(L, &err);
    if (RL_UNLIKELY(rl_consumer_is_over(c)))
        return rl_consumer_wait(c, L, t);
    lua_pushboolean(L, true);
    return 1;
}

/* close(id, code, reason): 403 before accept. Closing twice is harmless. */
static int l_close(lua_State *L)
{
    rl_consumer *c = rl_bind_find(L, 1);
    lua_Integer code = luaL_optinteger(L, 2, 1000);
    rl_str reason = rl_opt_str(L, 3);
    luaL_argcheck(L, code >= 0 && code < 5000 && rl_ws_close_code_valid((unsigned)code), 2,
                  "close codes are 1000 to 1014 without the reserved ones, and 3000 to 4999");
    luaL_argcheck(L, reason.n <= 123 && rl_utf8_valid(reason), 3,
                  "a reason is UTF-8 of at most 123 bytes");

    if (c)
        rl_consumer_close(c, (uint16_t)code, reason);
    return 0;
}

/* wait(id) -> true | nil, error. Until more of the body is here, or the peer has read. */
static int l_wait(lua_State *L)
{
    rl_consumer *c = rl_bind_find(L, 1);
    rl_task *t = rl_task_current(L);

    if (!c || c->gone)
        return rl_bind_gone(L);
    return rl_consumer_wait(c, L, t);
}

/* generation(id) -> of the code that this connection runs, the number of its route | nil */
static int l_generation(lua_State *L)
{
    rl_consumer *c = rl_bind_find(L, 1);

    if (!c)
        return 0;
    lua_pushinteger(L, (lua_Integer)c->generation->number);
    lua_pushinteger(L, c->route);
    return 2;
}

/* route(id, number): which one it is counted under (worker.route gives the number) */
static int l_route(lua_State *L)
{
    rl_consumer *c = rl_bind_find(L, 1);
    unsigned number = (unsigned)luaL_checkinteger(L, 2);

    if (c && number < c->worker->routes.n)
        c->route = (uint16_t)number;
    return 0;
}

static const luaL_Reg functions[] = {
    {"route", l_route},
    {"bind", l_bind},
    {"is_bound", l_is_bound},
    {"background", l_background},
    {"tick", l_tick},
    {"run", l_run},
    {"pin", l_pin},
    {"nudge", l_nudge},
    {"unlogged", l_unlogged},
    {"is_idle", l_is_idle},
    {"send", l_send}, /* yields */
    {"close", l_close},
    {"wait", l_wait}, /* yields */
    {"generation", l_generation},
    {NULL, NULL},
};

int rl_open_consumer(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    rl_open_consumer_http(L);
    rl_open_consumer_facts(L);
    rl_open_consumer_direct(L);
    rl_open_consumer_look(L);
    return 1;
}
