/* The layer as its backend sees it: what groups do here, and what comes from other processes. */
#include "bind/bind_layer.h"

#include "layer/changes.h"
#include "layer/exchange.h"

static int check_tiding(lua_State *L, int arg)
{
    static const char *const names[RL_TIDINGS + 1] = {
        [RL_TIDING_CHANGES] = "changes",
        [RL_TIDING_ROUND] = "round",
        [RL_TIDING_STATE] = "state",
    };

    return luaL_checkoption(L, arg, NULL, names);
}

/* open(): there is a backend from now on */
static int l_open(lua_State *L)
{
    rl_outside_open(rl_worker_of(L));
    return 0;
}

/* await(tiding) -> true | nil, error. Until it is rung; "changes" also rings when groups have begun
 * or ended. */
static int l_await(lua_State *L)
{
    int tiding = check_tiding(L, 1);
    rl_task *t = rl_task_current(L);

    return rl_waiters_park(&rl_worker_of(L)->outside.waiters[tiding], L, t);
}

/* ring(tiding): wake all who wait for it */
static int l_ring(lua_State *L)
{
    rl_waiters_wake(&rl_worker_of(L)->outside.waiters[check_tiding(L, 1)], NULL);
    return 0;
}

struct lists {
    lua_State *L;
    int at; /* of the first of the four, in rl_change's order */
    int n[4];
};

static void add_change(void *arg, rl_change change, rl_str name)
{
    struct lists *lists = arg;

    lua_pushlstring(lists->L, name.p, name.n);
    lua_rawseti(lists->L, lists->at + (int)change, ++lists->n[change]);
}

static int push_changes(lua_State *L, void (*tell)(rl_layer *layer, rl_change_fn *fn, void *arg))
{
    rl_worker *w = rl_worker_of(L);
    struct lists lists = {.L = L, .at = lua_gettop(L) + 1};

    rl_vm_enter(&w->vm); /* what is taken must not get lost half-way */
    for (int i = 0; i < 4; i++)
        lua_newtable(L);
    tell(&w->layer, add_change, &lists);
    rl_vm_leave(&w->vm);
    return 4;
}

/* changes() -> groups that have begun here, those that have ended, channels likewise: since the
 * last time */
static int l_changes(lua_State *L)
{
    return push_changes(L, rl_layer_take_changes);
}

/* present() -> groups with members on this worker, open channels with names of their own */
static int l_present(lua_State *L)
{
    push_changes(L, rl_layer_list);
    lua_remove(L, -1);
    lua_remove(L, -2);
    return 2;
}

/* is_changing(group) -> will changes() tell of it? */
static int l_is_changing(lua_State *L)
{
    lua_pushboolean(L, rl_layer_group_is_changing(&rl_worker_of(L)->layer, rl_check_group(L, 1)));
    return 1;
}

/* prefixes() -> what the names of this process's channels begin with, this worker's first */
static int l_prefixes(lua_State *L)
{
    rl_layer *layer = &rl_worker_of(L)->layer;
    const char *prefix;
    int n = 1;

    lua_newtable(L);
    lua_pushstring(L, layer->prefix);
    lua_rawseti(L, -2, n);
    for (unsigned i = 0; (prefix = rl_exchange_prefix(layer, i)); i++)
        if (prefix != layer->prefix) {
            lua_pushstring(L, prefix);
            lua_rawseti(L, -2, ++n);
        }
    return 1;
}

/* has(channel) -> is it of this process: a name of one of its workers, or open on this one? */
static int l_has(lua_State *L)
{
    rl_layer *layer = &rl_worker_of(L)->layer;
    rl_str name = rl_check_channel(L, 1);

    lua_pushboolean(L, rl_str_starts(name, rl_str_of(layer->prefix)) ||
                           rl_exchange_has(layer, name) || rl_layer_find(layer, name));
    return 1;
}

/* is_member(group, channel) -> is a channel of this worker in a group? */
static int l_is_member(lua_State *L)
{
    rl_str group = rl_check_group(L, 1), name = rl_check_channel(L, 2);

    lua_pushboolean(L, rl_channel_is_in(rl_layer_find(&rl_worker_of(L)->layer, name), group));
    return 1;
}

/* group_send_here(group, encoded, text or nil, bytes or nil) -> delivered, dropped: to this
 * worker's members */
static int l_group_send_here(lua_State *L)
{
    rl_str group = rl_check_group(L, 1);
    rl_message *m = rl_check_message(L);

    return rl_push_receipt(L, rl_layer_group_send_here(&rl_worker_of(L)->layer, group, m), m);
}

/* up(boolean): has the backend its connection? */
static int l_up(lua_State *L)
{
    rl_worker_of(L)->outside.figures.up = lua_toboolean(L, 1);
    return 0;
}

/* count_up(name, n): add to one of the backend's figures (core/outside.h) */
static int l_count_up(lua_State *L)
{
    rl_outside_figures *f = &rl_worker_of(L)->outside.figures;
#define RL_X(name) #name,
    static const char *const names[] = {RL_OUTSIDE_MESSAGES(RL_X) "outages", NULL};
#undef RL_X
#define RL_X(name) &f->name,
    uint64_t *const at[] = {RL_OUTSIDE_MESSAGES(RL_X) & f->outages};
#undef RL_X
    int which = luaL_checkoption(L, 1, NULL, names);

    *at[which] += (uint64_t)luaL_checkinteger(L, 2);
    return 0;
}

/* figures() -> { sent =, …, up = }, for tests and the curious */
static int l_figures(lua_State *L)
{
    const rl_outside_figures *f = &rl_worker_of(L)->outside.figures;

    lua_newtable(L);
    lua_pushboolean(L, f->up);
    lua_setfield(L, -2, "up");
    lua_pushnumber(L, (double)f->outages);
    lua_setfield(L, -2, "outages");
#define RL_X(name)                      \
    lua_pushnumber(L, (double)f->name); \
    lua_setfield(L, -2, #name);
    RL_OUTSIDE_MESSAGES(RL_X)
#undef RL_X
    return 1;
}

/* tell_members(): every consumer of this worker that is in a group hears { type =
 * "layer.reconnected" } */
static int l_tell_members(lua_State *L)
{
    rl_worker_tell_members(rl_worker_of(L), "layer.reconnected");
    return 0;
}

static const luaL_Reg functions[] = {
    {"open", l_open},
    {"await", l_await}, /* yields */
    {"ring", l_ring},
    {"changes", l_changes},
    {"present", l_present},
    {"is_changing", l_is_changing},
    {"prefixes", l_prefixes},
    {"has", l_has},
    {"is_member", l_is_member},
    {"group_send_here", l_group_send_here},
    {"up", l_up},
    {"count_up", l_count_up},
    {"figures", l_figures},
    {"tell_members", l_tell_members},
    {NULL, NULL},
};

void rl_open_layer_outside(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
