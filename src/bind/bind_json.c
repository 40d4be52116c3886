/* encode(value): JSON text (RFC 8259). Decoding is lua-cjson's; its encoder is not used,
 * because it prints 14 digits of a number and lets through text that is not UTF-8, on
 * which a browser drops the connection.
 *
 * Numbers come out so that they read back as the same double; integers up to 2^53 without
 * an exponent. A table whose keys are 1 to n is an array; an empty one is an object unless
 * it was marked by json.array(). A table between the two is an error, and so are functions,
 * NaN, infinities and tables nested deeper than 200. */
#include "bind/bind.h"

#include "proto/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_DEPTH = 200 };

struct encoder {
    lua_State *L;
    rl_buf *out;    /* released before an error is raised */
    int array_mark; /* stack index of the metatable that json.array() gives */
};

static RL_NORETURN void fail(struct encoder *e, const char *what)
{
    rl_buf_fini(e->out);
    luaL_error(e->L, "cannot encode as JSON: %s", what);
    abort();
}

static void add_number(struct encoder *e, double d)
{
    char text[32];

    if (!isfinite(d))
        fail(e, "a number that is not finite");
    if (d == floor(d) && fabs(d) <= 9007199254740992.0)
        snprintf(text, sizeof(text), "%.0f", d);
    else
        for (int digits = 15; digits <= 17; digits++) {
            snprintf(text, sizeof(text), "%.*g", digits, d);
            if (strtod(text, NULL) == d)
                break;
        }
    rl_buf_add(e->out, text, strlen(text));
}

static void add_string(struct encoder *e, rl_str s)
{
    size_t from = 0;

    if (!rl_utf8_valid(s))
        fail(e, "a string that is not UTF-8");
    rl_buf_reserve(e->out, s.n + 2);
    rl_buf_add_c(e->out, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
            continue;
        rl_buf_add(e->out, s.p + from, i - from);
        from = i + 1;
        switch (c) {
        case '"':
        case '\\':
            rl_buf_add_c(e->out, '\\');
            rl_buf_add_c(e->out, (char)c);
            break;
        case '\n':
            rl_buf_add(e->out, "\\n", 2);
            break;
        case '\t':
            rl_buf_add(e->out, "\\t", 2);
            break;
        case '\r':
            rl_buf_add(e->out, "\\r", 2);
            break;
        default:
            rl_buf_printf(e->out, "\\u%04x", c);
        }
    }
    rl_buf_add(e->out, s.p + from, s.n - from);
    rl_buf_add_c(e->out, '"');
}

static void add_value(struct encoder *e, int index, int depth);

static bool is_marked_array(struct encoder *e, int index)
{
    if (!lua_getmetatable(e->L, index))
        return false;
    bool marked = lua_rawequal(e->L, -1, e->array_mark);
    lua_pop(e->L, 1);
    return marked;
}

static void add_array(struct encoder *e, int index, size_t n, int depth)
{
    rl_buf_add_c(e->out, '[');
    for (size_t i = 1; i <= n; i++) {
        if (i > 1)
            rl_buf_add_c(e->out, ',');
        lua_rawgeti(e->L, index, (int)i);
        add_value(e, lua_gettop(e->L), depth + 1);
        lua_pop(e->L, 1);
    }
    rl_buf_add_c(e->out, ']');
}

static void add_object(struct encoder *e, int index, int depth)
{
    lua_State *L = e->L;
    bool first = true;

    rl_buf_add_c(e->out, '{');
    lua_pushnil(L);
    while (lua_next(L, index)) {
        if (lua_type(L, -2) != LUA_TSTRING && lua_type(L, -2) != LUA_TNUMBER)
            fail(e, "a table with a key that is neither string nor number");
        if (!first)
            rl_buf_add_c(e->out, ',');
        first = false;
        lua_pushvalue(L, -2); /* tolstring would change a number key under lua_next */
        size_t n;
        const char *key = lua_tolstring(L, -1, &n);
        add_string(e, (rl_str){key, n});
        lua_pop(L, 1);
        rl_buf_add_c(e->out, ':');
        add_value(e, lua_gettop(L), depth + 1);
        lua_pop(L, 1);
    }
    rl_buf_add_c(e->out, '}');
}

static void add_table(struct encoder *e, int index, int depth)
{
    lua_State *L = e->L;
    size_t n = lua_objlen(L, index), keys = 0, whole = 0;

    if (depth > MAX_DEPTH)
        fail(e, "tables nested too deep (a cycle?)");
    if (!lua_checkstack(L, 8))
        fail(e, "tables nested too deep");
    if (is_marked_array(e, index)) {
        add_array(e, index, n, depth);
        return;
    }
    if (n == 0) {
        add_object(e, index, depth);
        return;
    }
    lua_pushnil(L);
    while (lua_next(L, index)) {
        keys++;
        whole += lua_type(L, -2) == LUA_TNUMBER;
        lua_pop(L, 1);
    }
    if (keys != n || whole != n)
        fail(e, "a table that is neither an array without holes nor an object");
    add_array(e, index, n, depth);
}

static void add_value(struct encoder *e, int index, int depth)
{
    lua_State *L = e->L;
    size_t n;

    switch (lua_type(L, index)) {
    case LUA_TNIL:
        rl_buf_add(e->out, "null", 4);
        break;
    case LUA_TBOOLEAN:
        rl_buf_add_str(e->out, lua_toboolean(L, index) ? RL_STR("true") : RL_STR("false"));
        break;
    case LUA_TNUMBER:
        add_number(e, lua_tonumber(L, index));
        break;
    case LUA_TSTRING: {
        const char *s = lua_tolstring(L, index, &n);
        add_string(e, (rl_str){s, n});
        break;
    }
    case LUA_TTABLE:
        add_table(e, index, depth);
        break;
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, index) == NULL) {
            rl_buf_add(e->out, "null", 4);
            break;
        }
        RL_FALLTHROUGH;
    default:
        rl_buf_fini(e->out);
        luaL_error(L, "cannot encode as JSON: a %s", luaL_typename(L, index));
    }
}

/* Upvalue 1 is the array mark. */
static int l_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    rl_buf *out = rl_vm_draft(rl_vm_of(L)); /* as long as memory is */
    struct encoder e = {.L = L, .out = out, .array_mark = 2};
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));

    add_value(&e, 1, 0);
    lua_pushlstring(L, rl_buf_str(out).p, out->len);
    rl_vm_free_draft(out);
    return 1;
}

/* is_utf8(text) -> boolean. lua-cjson's decoder does not ask. */
static int l_is_utf8(lua_State *L)
{
    lua_pushboolean(L, rl_utf8_valid(rl_check_str(L, 1)));
    return 1;
}

int rl_open_json(lua_State *L)
{
    lua_newtable(L);
    lua_pushcfunction(L, l_is_utf8);
    lua_setfield(L, -2, "is_utf8");
    lua_newtable(L); /* [module, mark] */
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, RL_ARRAY_MARK);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "array_mark");
    lua_pushcclosure(L, l_encode, 1);
    lua_setfield(L, -2, "encode");
    return 1;
}
