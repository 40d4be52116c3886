/* Who is in which group (layer/presence.h). Keys are text of the script's, what connections say of
 * themselves is encoded (string.buffer). */
#include "bind/bind.h"

#include <string.h>

#define KEY_MAX 255

static rl_presence_id check_id(lua_State *L)
{
    rl_presence_id id = {rl_check_str(L, 1), rl_check_str(L, 2), rl_check_str(L, 3)};

    luaL_argcheck(L, rl_layer_valid_group(id.group), 1,
                  "a group's name has 1 to 99 letters, digits, hyphens, underscores or dots");
    luaL_argcheck(L, id.key.n >= 1 && id.key.n <= KEY_MAX, 2, "a key has 1 to 255 bytes");
    return id;
}

static rl_presence *presence_of(lua_State *L)
{
    return rl_worker_of(L)->crew->presence;
}

/* [key, meta, key, meta, …] */
static void push_people(lua_State *L, rl_str all)
{
    int n = 0;

    lua_newtable(L);
    while (all.n) {
        size_t lengths[2];
        memcpy(lengths, all.p, sizeof(lengths));
        lua_pushlstring(L, all.p + sizeof(lengths), lengths[0]);
        lua_rawseti(L, -2, ++n);
        lua_pushlstring(L, all.p + sizeof(lengths) + lengths[0], lengths[1]);
        lua_rawseti(L, -2, ++n);
        size_t used = sizeof(lengths) + lengths[0] + lengths[1];
        all = (rl_str){all.p + used, all.n - used};
    }
}

/* change | nil: nobody need hear of it, seq, people */
static int push_change(lua_State *L, rl_presence_change change, const rl_presence_news *news)
{
    static const char *const names[] = {[RL_PRESENCE_JOIN] = "join",
                                        [RL_PRESENCE_UPDATE] = "update",
                                        [RL_PRESENCE_LEAVE] = "leave",
                                        [RL_PRESENCE_FULL] = "full"};

    if (change == RL_PRESENCE_SAME) {
        rl_vm_free_draft(news->metas);
        return 0;
    }
    lua_pushstring(L, names[change]);
    lua_pushnumber(L, (lua_Number)news->seq);
    push_people(L, rl_buf_str(news->metas));
    rl_vm_free_draft(news->metas);
    return 3;
}

/* track(group, key, channel, meta) -> "join" | "update" | "full" | nil: nobody need hear of it;
 * with a change its number, and [key, meta, …] of the key's connections */
static int l_track(lua_State *L)
{
    rl_presence_id id = check_id(L);
    rl_str meta = rl_check_str(L, 4);
    rl_presence_news news = {.metas = rl_vm_draft(rl_vm_of(L))};

    return push_change(L, rl_presence_track(presence_of(L), &id, meta, &news), &news);
}

/* untrack(group, key, channel) -> "leave" | "update" | nil, … as track */
static int l_untrack(lua_State *L)
{
    rl_presence_id id = check_id(L);
    rl_presence_news news = {.metas = rl_vm_draft(rl_vm_of(L))};

    return push_change(L, rl_presence_untrack(presence_of(L), &id, &news), &news);
}

/* linger(group, key, channel): it has gone, and may come back */
static int l_linger(lua_State *L)
{
    rl_presence_id id = check_id(L);

    rl_presence_linger(presence_of(L), &id);
    return 0;
}

/* lapse(group, key, channel) -> as untrack, if it lingers still */
static int l_lapse(lua_State *L)
{
    rl_presence_id id = check_id(L);
    rl_presence_news news = {.metas = rl_vm_draft(rl_vm_of(L))};

    return push_change(L, rl_presence_lapse(presence_of(L), &id, &news), &news);
}

/* list(group) -> [key, meta, …], the number of the last change */
static int l_list(lua_State *L)
{
    rl_str group = rl_check_str(L, 1);

    luaL_argcheck(L, rl_layer_valid_group(group), 1,
                  "a group's name has 1 to 99 letters, digits, hyphens, underscores or dots");
    rl_buf *all = rl_vm_draft(rl_vm_of(L));
    uint64_t seq = rl_presence_copy(presence_of(L), group, all);
    push_people(L, rl_buf_str(all));
    rl_vm_free_draft(all);
    lua_pushnumber(L, (lua_Number)seq);
    return 2;
}

static const luaL_Reg functions[] = {
    {"track", l_track}, {"untrack", l_untrack}, {"linger", l_linger},
    {"lapse", l_lapse}, {"list", l_list},       {NULL, NULL},
};

int rl_open_presence(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
