#include "bind/bind.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sum.h"

#include <stdio.h>
#include <sys/random.h>

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

enum { FIELDS_MAX = 64 }; /* of one line; what is more is left out */

/* The value on top, which stays on the stack. */
static rl_log_field to_field(lua_State *L, rl_str name)
{
    rl_log_field f = {.name = name, .type = RL_LOG_STRING};

    if (lua_type(L, -1) == LUA_TNUMBER) {
        f.type = RL_LOG_NUMBER;
        f.number = lua_tonumber(L, -1);
    } else if (lua_type(L, -1) == LUA_TBOOLEAN) {
        f.type = RL_LOG_BOOL;
        f.yes = lua_toboolean(L, -1);
    } else {
        f.text = rl_check_str(L, -1);
    }
    return f;
}

/* log(level, message, names, values): fields in this order, names strings. */
static int l_log(lua_State *L)
{
    static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
    rl_log_level level = (rl_log_level)luaL_checkoption(L, 1, NULL, levels);
    rl_str message = rl_check_str(L, 2);
    rl_log_field fields[FIELDS_MAX];
    size_t n = 0;

    if (level < rl_log_threshold())
        return 0;
    if (!lua_isnoneornil(L, 3)) {
        luaL_checktype(L, 3, LUA_TTABLE);
        luaL_checktype(L, 4, LUA_TTABLE);
        luaL_checkstack(L, 2 * FIELDS_MAX + 4, "fields");
        for (; n < FIELDS_MAX && n < lua_objlen(L, 3); n++) {
            lua_rawgeti(L, 3, (int)n + 1);
            rl_str name = rl_check_str(L, -1);
            lua_rawgeti(L, 4, (int)n + 1);
            fields[n] = to_field(L, name);
        }
    }
    rl_log_fields(level, message, fields, n);
    return 0;
}

/* level() -> below which nothing is written: "debug", "info", "warn", "error" or "off" */
static int l_log_level(lua_State *L)
{
    static const char *const levels[] = {"debug", "info", "warn", "error", "off"};

    lua_pushstring(L, levels[rl_log_threshold()]);
    return 1;
}

/* now() -> seconds since an arbitrary point, as of this turn of the loop */
static int l_now(lua_State *L)
{
    lua_pushnumber(L, (double)rl_loop_now(&rl_worker_of(L)->loop) / 1000);
    return 1;
}

double rl_check_seconds(lua_State *L, int arg)
{
    double seconds = luaL_checknumber(L, arg);

    luaL_argcheck(L, seconds >= 0 && seconds <= 1e9, arg, "seconds from 0 to 1e9 expected");
    return seconds;
}

static uint64_t random_bits(void)
{
    uint64_t bits = 0;

    if (getrandom(&bits, sizeof(bits), GRND_NONBLOCK) != sizeof(bits))
        bits = rl_clock_ns() * 0x9e3779b97f4a7c15u;
    return bits;
}

/* random() -> at least 0 and less than 1; another one in every process */
static int l_random(lua_State *L)
{
    lua_pushnumber(L, (double)(random_bits() >> 11) * 0x1p-53);
    return 1;
}

/* backoff(failures, first, most) -> seconds (base/backoff.h) */
static int l_backoff(lua_State *L)
{
    int failures = luaL_checkint(L, 1);
    double first = rl_check_seconds(L, 2), most = rl_check_seconds(L, 3);

    luaL_argcheck(L, failures > 0, 1, "1 or more expected");
    luaL_argcheck(L, first >= 0.001 && most >= first, 2, "a millisecond or more, up to `most`");
    uint64_t ms = rl_backoff((unsigned)failures, (uint64_t)(first * 1000), (uint64_t)(most * 1000),
                             random_bits());
    lua_pushnumber(L, (double)ms / 1000);
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

/* sum(bytes) -> whether they are the same as before (base/sum.h), in 16 hexadecimal digits */
static int l_sum(lua_State *L)
{
    char text[17];

    snprintf(text, sizeof(text), "%016llx",
             (unsigned long long)rl_sum_on(RL_SUM_EMPTY, rl_check_str(L, 1)));
    lua_pushstring(L, text);
    return 1;
}

static const luaL_Reg functions[] = {
    {"log", l_log},         {"log_level", l_log_level}, {"now", l_now}, {"random", l_random},
    {"backoff", l_backoff}, {"describe", l_describe},   {"sum", l_sum}, {NULL, NULL},
};

static const struct {
    const char *name;
    lua_CFunction open;
} parts[] = {
    {"base64", rl_open_base64},     {"channel", rl_open_channel},
    {"consumer", rl_open_consumer}, {"db", rl_open_db},
    {"fernet", rl_open_fernet},     {"fs", rl_open_fs},
    {"http", rl_open_http},         {"json", rl_open_json},
    {"layer", rl_open_layer},       {"metrics", rl_open_metrics},
    {"mqtt", rl_open_mqtt},         {"msgpack", rl_open_msgpack},
    {"presence", rl_open_presence}, {"redis", rl_open_redis},
    {"task", rl_open_task},         {"testing", rl_open_testing},
    {"worker", rl_open_worker},
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
