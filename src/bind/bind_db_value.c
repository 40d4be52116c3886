/* Values between Lua and a database: parameters on their way there, rows on their way back. */
#include "bind/bind_db.h"

#define VALUE "rille.DatabaseValue"

/* Parameters */

/* bytes(s), json(s): a parameter that is not plain text. */
static int push_value(lua_State *L, rl_kind kind)
{
    luaL_checkstring(L, 1);
    rl_kind *box = lua_newuserdata(L, sizeof(*box));

    *box = kind;
    luaL_getmetatable(L, VALUE);
    lua_setmetatable(L, -2);
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, 1);
    lua_setfenv(L, -2); /* keeps the string alive and reachable */
    return 1;
}

static int l_bytes(lua_State *L)
{
    return push_value(L, RL_BYTES);
}

static int l_json(lua_State *L)
{
    return push_value(L, RL_JSON);
}

static rl_str boxed(lua_State *L, int arg)
{
    size_t n;

    lua_getfenv(L, arg);
    lua_rawgeti(L, -1, 1);
    const char *p = lua_tolstring(L, -1, &n);
    lua_pop(L, 2);
    return (rl_str){p, n};
}

rl_value rl_db_check_param(lua_State *L, int arg, int n)
{
    rl_value v = {.kind = RL_NULL};
    size_t len;

    switch (lua_type(L, arg)) {
    case LUA_TNIL:
    case LUA_TNONE:
        break;
    case LUA_TBOOLEAN:
        v.kind = RL_BOOL;
        v.i = lua_toboolean(L, arg);
        break;
    case LUA_TNUMBER: {
        double d = lua_tonumber(L, arg);
        if (d > -9223372036854775808.0 && d < 9223372036854775808.0 && d == (double)(int64_t)d) {
            v.kind = RL_INT;
            v.i = (int64_t)d;
        } else {
            v.kind = RL_FLOAT;
            v.f = d;
        }
        break;
    }
    case LUA_TSTRING:
        v.kind = RL_TEXT;
        v.s.p = lua_tolstring(L, arg, &len);
        v.s.n = len;
        break;
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, arg) == NULL)
            break;
        luaL_error(L, "parameter $%d: a value the database cannot take", n);
        break;
    case LUA_TUSERDATA: {
        rl_kind *box = luaL_checkudata(L, arg, VALUE);
        v.kind = *box;
        v.s = boxed(L, arg);
        break;
    }
    default:
        luaL_error(L, "parameter $%d: a %s; give a string, number, boolean, null, bytes or json", n,
                   luaL_typename(L, arg));
    }
    return v;
}

/* Rows */

static void push_int(lua_State *co, int64_t i)
{
    char text[24];

    if (i >= -9007199254740992 && i <= 9007199254740992) {
        lua_pushnumber(co, (double)i);
        return;
    }
    int n = snprintf(text, sizeof(text), "%lld", (long long)i);
    lua_pushlstring(co, text, (size_t)n);
}

static void push_cell(lua_State *co, rl_value v)
{
    switch (v.kind) {
    case RL_NULL:
        lua_pushnil(co);
        break;
    case RL_BOOL:
        lua_pushboolean(co, v.i != 0);
        break;
    case RL_INT:
        push_int(co, v.i);
        break;
    case RL_FLOAT:
        lua_pushnumber(co, v.f);
        break;
    case RL_TEXT:
    case RL_BYTES:
    case RL_NUMERIC:
    case RL_JSON:
        lua_pushlstring(co, v.s.p, v.s.n);
        break;
    }
}

/* The names of the columns that hold JSON, or nil: decoding may raise, and so is left to
 * lua/rille/db. */
static void push_json_columns(lua_State *co, const rl_result *r)
{
    int n = 0;

    lua_newtable(co);
    for (unsigned j = 0; j < rl_result_cols(r); j++)
        for (unsigned i = 0; i < rl_result_rows(r); i++)
            if (rl_result_cell(r, i, j).kind == RL_JSON) {
                lua_pushstring(co, rl_result_col_name(r, j));
                lua_rawseti(co, -2, ++n);
                break;
            }
}

int rl_db_push_result(lua_State *co, const rl_result *r)
{
    unsigned rows = rl_result_rows(r), cols = rl_result_cols(r);
    bool json = false;

    lua_checkstack(co, (int)cols + 8);
    lua_createtable(co, (int)rows, 0);
    int at = lua_gettop(co);
    for (unsigned j = 0; j < cols; j++) /* each name is interned once */
        lua_pushstring(co, rl_result_col_name(r, j));
    for (unsigned i = 0; i < rows; i++) {
        lua_createtable(co, 0, (int)cols);
        for (unsigned j = 0; j < cols; j++) {
            rl_value v = rl_result_cell(r, i, j);
            if (v.kind == RL_NULL)
                continue;
            json |= v.kind == RL_JSON;
            lua_pushvalue(co, at + 1 + (int)j);
            push_cell(co, v);
            lua_rawset(co, -3);
        }
        lua_rawseti(co, at, (int)i + 1);
    }
    lua_settop(co, at);
    lua_pushnumber(co, (double)rl_result_affected(r));
    if (!json)
        return 2;
    push_json_columns(co, r);
    return 3;
}

static const luaL_Reg functions[] = {
    {"bytes", l_bytes},
    {"json", l_json},
    {NULL, NULL},
};

void rl_db_open_values(lua_State *L)
{
    luaL_newmetatable(L, VALUE);
    lua_pop(L, 1);
    luaL_register(L, NULL, functions);
}
