/* MessagePack for Lua's values; lua/rille/_meta/msgpack.lua says which becomes which. */
#include "bind/bind.h"

#include "proto/msgpack.h"
#include "proto/utf8.h"

#include <math.h>
#include <stdio.h>

#define BYTES "rille.Bytes"

enum { EXACT_BITS = 53 }; /* of a whole number */

/* Encoding */

struct encoder {
    lua_State *L;
    rl_buf *out;
    int array_mark, bytes; /* stack indices of metatables */
};

static bool has_metatable(struct encoder *e, int index, int metatable)
{
    if (!lua_getmetatable(e->L, index))
        return false;
    bool same = lua_rawequal(e->L, -1, metatable);
    lua_pop(e->L, 1);
    return same;
}

static void add_string(struct encoder *e, int index)
{
    rl_str s;

    s.p = lua_tolstring(e->L, index, &s.n);
    if (rl_utf8_valid(s))
        rl_msgpack_add_text(e->out, s);
    else
        rl_msgpack_add_bytes(e->out, s);
}

static void add_number(struct encoder *e, double d)
{
    bool whole = d == floor(d) && fabs(d) <= (double)(1LL << EXACT_BITS);

    if (whole && (d != 0 || !signbit(d))) /* an integer has no -0 */
        rl_msgpack_add_int(e->out, (int64_t)d);
    else
        rl_msgpack_add_float(e->out, d);
}

static void add_value(struct encoder *e, int index, int depth);

static void add_array(struct encoder *e, int index, size_t n, int depth)
{
    rl_msgpack_add_array(e->out, n);
    for (size_t i = 1; i <= n; i++) {
        lua_rawgeti(e->L, index, (int)i);
        add_value(e, lua_gettop(e->L), depth + 1);
        lua_pop(e->L, 1);
    }
}

static void add_map(struct encoder *e, int index, size_t pairs, int depth)
{
    lua_State *L = e->L;

    rl_msgpack_add_map(e->out, pairs);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        int type = lua_type(L, -2);
        if (type != LUA_TSTRING && type != LUA_TNUMBER)
            luaL_error(L, "cannot encode as MessagePack: a table with a key that is neither string "
                          "nor number");
        lua_pushvalue(L, -2); /* tolstring would change a number key under lua_next */
        add_string(e, lua_gettop(L));
        lua_pop(L, 1);
        add_value(e, lua_gettop(L), depth + 1);
        lua_pop(L, 1);
    }
}

static void add_table(struct encoder *e, int index, int depth)
{
    lua_State *L = e->L;
    size_t n = lua_objlen(L, index), pairs = 0, whole = 0;

    if (depth >= RL_MSGPACK_MAX_DEPTH || !lua_checkstack(L, 8))
        luaL_error(L, "cannot encode as MessagePack: tables nested too deep (a cycle?)");
    if (has_metatable(e, index, e->array_mark)) {
        add_array(e, index, n, depth);
        return;
    }
    lua_pushnil(L);
    while (lua_next(L, index)) {
        pairs++;
        whole += lua_type(L, -2) == LUA_TNUMBER;
        lua_pop(L, 1);
    }
    if (n == 0)
        add_map(e, index, pairs, depth);
    else if (pairs == n && whole == n)
        add_array(e, index, n, depth);
    else
        luaL_error(L,
                   "cannot encode as MessagePack: a table that is neither an array without holes "
                   "nor a map");
}

static void add_value(struct encoder *e, int index, int depth)
{
    lua_State *L = e->L;

    switch (lua_type(L, index)) {
    case LUA_TNIL:
        rl_msgpack_add_nil(e->out);
        return;
    case LUA_TBOOLEAN:
        rl_msgpack_add_bool(e->out, lua_toboolean(L, index));
        return;
    case LUA_TNUMBER:
        add_number(e, lua_tonumber(L, index));
        return;
    case LUA_TSTRING:
        add_string(e, index);
        return;
    case LUA_TTABLE:
        add_table(e, index, depth);
        return;
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, index) == NULL) {
            rl_msgpack_add_nil(e->out);
            return;
        }
        break;
    case LUA_TUSERDATA:
        if (has_metatable(e, index, e->bytes)) {
            rl_str bytes = {lua_touserdata(L, index), lua_objlen(L, index)};
            rl_msgpack_add_bytes(e->out, bytes);
            return;
        }
        break;
    default:
        break;
    }
    luaL_error(L, "cannot encode as MessagePack: a %s", luaL_typename(L, index));
}

/* encode(value) -> bytes */
static int l_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    struct encoder e = {.L = L, .array_mark = 2, .bytes = 3};
    lua_settop(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, RL_ARRAY_MARK);
    luaL_getmetatable(L, BYTES);
    e.out = rl_vm_draft(rl_vm_of(L)); /* as long as memory is */

    add_value(&e, 1, 0);
    lua_pushlstring(L, rl_buf_str(e.out).p, e.out->len);
    rl_vm_free_draft(e.out);
    return 1;
}

/* bytes(s) -> what is written as bin */
static int l_bytes(lua_State *L)
{
    rl_str s = rl_check_str(L, 1);
    void *p = lua_newuserdata(L, s.n);

    if (s.n)
        memcpy(p, s.p, s.n);
    luaL_getmetatable(L, BYTES);
    lua_setmetatable(L, -2);
    return 1;
}

static int bytes_tostring(lua_State *L)
{
    const char *p = luaL_checkudata(L, 1, BYTES);

    lua_pushlstring(L, p, lua_objlen(L, 1));
    return 1;
}

/* Decoding: what is open stands on the stack, the innermost on top. */

enum { BELIEVED = 64 }; /* elements that room is made for before they are there */

static void push_nil(void *arg)
{
    lua_pushlightuserdata(arg, NULL);
}

static void push_bool(void *arg, bool yes)
{
    lua_pushboolean(arg, yes);
}

static void push_int(void *arg, int64_t i)
{
    char text[24];

    if (i >= -(1LL << EXACT_BITS) && i <= 1LL << EXACT_BITS) {
        lua_pushnumber(arg, (lua_Number)i);
        return;
    }
    snprintf(text, sizeof(text), "%lld", (long long)i);
    lua_pushstring(arg, text);
}

static void push_uint(void *arg, uint64_t u)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)u);
    lua_pushstring(arg, text);
}

static void push_float(void *arg, double f)
{
    lua_pushnumber(arg, f);
}

static void push_string(void *arg, rl_str s)
{
    lua_pushlstring(arg, s.p, s.n);
}

static void push_array(void *arg, size_t claimed)
{
    luaL_checkstack(arg, 4, "too deep");
    lua_createtable(arg, claimed < BELIEVED ? (int)claimed : BELIEVED, 0);
    if (claimed == 0) { /* else it is one by what it holds */
        lua_getfield(arg, LUA_REGISTRYINDEX, RL_ARRAY_MARK);
        lua_setmetatable(arg, -2);
    }
}

static void set_element(void *arg, size_t i)
{
    lua_rawseti(arg, -2, (int)i + 1);
}

static void push_map(void *arg, size_t claimed)
{
    luaL_checkstack(arg, 4, "too deep");
    lua_createtable(arg, 0, claimed < BELIEVED ? (int)claimed : BELIEVED);
}

static bool set_pair(void *arg)
{
    if (lua_type(arg, -2) != LUA_TSTRING)
        return false;
    lua_rawset(arg, -3);
    return true;
}

static const rl_msgpack_events events = {
    .on_nil = push_nil,
    .on_bool = push_bool,
    .on_int = push_int,
    .on_uint = push_uint,
    .on_float = push_float,
    .on_text = push_string,
    .on_bytes = push_string,
    .on_array = push_array,
    .on_element = set_element,
    .on_map = push_map,
    .on_pair = set_pair,
};

/* decode(bytes) -> value | nil, error */
static int l_decode(lua_State *L)
{
    rl_str in = rl_check_str(L, 1);
    rl_err err;

    if (rl_msgpack_read(in, &events, L, &err) < 0)
        return rl_failure(L, &err);
    return 1;
}

static const luaL_Reg functions[] = {
    {"encode", l_encode},
    {"decode", l_decode},
    {"bytes", l_bytes},
    {NULL, NULL},
};

int rl_open_msgpack(lua_State *L)
{
    luaL_newmetatable(L, BYTES);
    lua_pushcfunction(L, bytes_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pop(L, 1);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
