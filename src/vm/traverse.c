#include "vm/traverse.h"

#include <lauxlib.h>

#ifdef RL_LUAJIT_IS_SOUND

void rl_traverse_open(lua_State *L)
{
    (void)L;
}

#else

static int l_next(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    if (lua_next(L, 1))
        return 2;
    lua_pushnil(L);
    return 1;
}

static int l_pairs(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

void rl_traverse_open(lua_State *L)
{
    lua_pushcfunction(L, l_next);
    lua_pushvalue(L, -1);
    lua_setglobal(L, "next");
    lua_pushcclosure(L, l_pairs, 1);
    lua_setglobal(L, "pairs");
    /* The one such loop that is in the library itself. */
    if (luaL_dostring(L, "jit.off(table.foreach)"))
        lua_error(L);
}

#endif
