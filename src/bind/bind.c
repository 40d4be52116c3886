#include "bind/bind.h"

#include "base/log.h"

rl_str rl_check_str(lua_State *L, int arg)
{
    size_t n;
    const char *p = luaL_checklstring(L, arg, &n);

    return (rl_str){p, n};
}

rl_str rl_opt_str(lua_State *L, int arg)
{
    return lua_isnoneornil(L, arg) ? (rl_str){"", 0} : rl_check_str(L, arg);
}

/* log(level, message) */
static int l_log(lua_State *L)
{
    static const char *const names[] = {"debug", "info", "warn", "error", NULL};
    int level = luaL_checkoption(L, 1, NULL, names);
    rl_str message = rl_check_str(L, 2);

    rl_log((rl_log_level)level, "%.*s", (int)message.n, message.p);
    return 0;
}

/* now() -> seconds since an arbitrary point, as of this turn of the loop */
static int l_now(lua_State *L)
{
    lua_pushnumber(L, (double)rl_loop_now(&rl_worker_of(L)->loop) / 1000);
    return 1;
}

/* describe(error) -> its text, without running Lua */
static int l_describe(lua_State *L)
{
    luaL_checkany(L, 1);
    rl_buf *text = rl_vm_draft(rl_vm_of(L));
    rl_vm_describe(L, 1, text);
    lua_pushlstring(L, rl_buf_str(text).p, text->len);
    rl_vm_free_draft(text);
    return 1;
}

static const luaL_Reg functions[] = {
    {"log", l_log},
    {"now", l_now},
    {"describe", l_describe},
    {NULL, NULL},
};

static const struct {
    const char *name;
    lua_CFunction open;
} parts[] = {
    {"consumer", rl_open_consumer}, {"db", rl_open_db},         {"fs", rl_open_fs},
    {"http", rl_open_http},         {"json", rl_open_json},     {"layer", rl_open_layer},
    {"task", rl_open_task},         {"worker", rl_open_worker},
};

int rl_open_core(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_pushlightuserdata(L, NULL); /* what lua-cjson calls null, too */
    lua_setfield(L, -2, "null");
    rl_task_push_sentinel(L);
    lua_setfield(L, -2, "sentinel");
    lua_pushliteral(L, RILLE_VERSION);
    lua_setfield(L, -2, "version");
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED"); /* [core, loaded] */
    for (size_t i = 0; i < RL_COUNT(parts); i++) {
        parts[i].open(L);
        lua_pushvalue(L, -1);
        lua_setfield(L, -4, parts[i].name);
        lua_pushfstring(L, "rille.core.%s", parts[i].name);
        lua_insert(L, -2);
        lua_rawset(L, -3);
    }
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "rille.core");
    lua_pop(L, 2);
    return 0;
}
