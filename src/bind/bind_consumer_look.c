/* Consumers seen from outside, for whoever looks into a process (lua/rille/shell/consumers.lua). */
#include "bind/bind_consumer.h"

/* ids() -> of all consumers, a list */
static int l_ids(lua_State *L)
{
    const rl_roster *r = &rl_worker_of(L)->roster;
    uint32_t at = 0;
    rl_consumer *c;

    lua_createtable(L, (int)r->count, 0);
    for (int i = 1; (c = rl_roster_next(r, &at)); i++) {
        lua_pushnumber(L, c->id);
        lua_rawseti(L, -2, i);
    }
    return 1;
}

static void set_text(lua_State *L, const char *name, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

static void set_number(lua_State *L, const char *name, double value)
{
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}

/* look(id) -> { kind =, state =, route =, generation =, age =, queued =, tasks =, event =, self =,
 * thread = }, or nil: it is gone */
static int l_look(lua_State *L)
{
    static const char *const kinds[] = {"http", "websocket", "background"};
    static const char *const states[] = {"opening", "open", "leaving"};
    rl_worker *w = rl_worker_of(L);
    const rl_consumer *c = rl_roster_find(&w->roster, luaL_checknumber(L, 1));
    unsigned tasks = 0;

    if (!c)
        return 0;
    for (const rl_list *it = c->tasks.next; it != &c->tasks; it = it->next)
        tasks++;
    lua_createtable(L, 0, 10);
    set_text(L, "kind", kinds[c->kind]);
    set_text(L, "state", states[c->state]);
    set_text(L, "route", w->routes.at[c->route]->pattern);
    set_number(L, "generation", c->generation->number);
    set_number(L, "age", (double)(uint32_t)(rl_loop_now(&w->loop) / 1000 - c->born));
    set_number(L, "queued", c->nqueued);
    set_number(L, "tasks", tasks);
    if (c->bound) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, c->self);
        lua_setfield(L, -2, "self");
    }
    if (c->task) {
        set_text(L, "event", c->event);
        lua_rawgeti(L, LUA_REGISTRYINDEX, c->task->ref);
        lua_setfield(L, -2, "thread");
    }
    return 1;
}

static const luaL_Reg functions[] = {{"ids", l_ids}, {"look", l_look}, {NULL, NULL}};

void rl_open_consumer_look(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
