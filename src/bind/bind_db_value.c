/* Values between Lua and a database: parameters on their way there, rows on their way back.
 *
 * What a plain string cannot say is a box: a userdata that holds its kind, and in its
 * environment the text. */
#include "bind/bind_db.h"

#include "db/pg_array.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define VALUE "rille.DatabaseValue"

enum { TYPE_CDATA = 10 }; /* LuaJIT's own, in no header */

/* Parameters */

static int push_box(lua_State *L, rl_kind kind) /* [text] -> [text, box] */
{
    rl_kind *box = lua_newuserdata(L, sizeof(*box));

    *box = kind;
    luaL_getmetatable(L, VALUE);
    lua_setmetatable(L, -2);
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, -3);
    lua_rawseti(L, -2, 1);
    lua_setfenv(L, -2); /* keeps the string alive and reachable */
    return 1;
}

/* bytes(s), json(s): a parameter that is not plain text. */
static int l_bytes(lua_State *L)
{
    luaL_checkstring(L, 1);
    lua_settop(L, 1);
    return push_box(L, RL_BYTES);
}

static int l_json(lua_State *L)
{
    luaL_checkstring(L, 1);
    lua_settop(L, 1);
    return push_box(L, RL_JSON);
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

static rl_kind *to_box(lua_State *L, int arg) /* NULL: something else */
{
    if (!lua_getmetatable(L, arg))
        return NULL;
    luaL_getmetatable(L, VALUE);
    bool ours = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return ours ? lua_touserdata(L, arg) : NULL;
}

/* 9007199254740993LL and its unsigned sister print as their digits and a suffix; the API has no
 * other way to ask. False: another cdata, or one that does not fit. */
static bool to_int64(lua_State *L, int arg, int64_t *out)
{
    char *end;

    if (!luaL_callmeta(L, arg, "__tostring"))
        return false;
    const char *text = lua_tostring(L, -1);
    bool negative = text && *text == '-';
    errno = 0;
    unsigned long long n = text ? strtoull(text + negative, &end, 10) : 0;
    bool ok = text && errno == 0 && end != text + negative &&
              (strcmp(end, "LL") == 0 || strcmp(end, "ULL") == 0) &&
              n <= (uint64_t)INT64_MAX + negative;
    *out = (int64_t)(negative ? 0 - n : n);
    lua_pop(L, 1);
    return ok;
}

static rl_value of_number(double d)
{
    bool whole = d >= -9223372036854775808.0 && d < 9223372036854775808.0 && d == floor(d);

    if (whole && (d != 0 || !signbit(d))) /* an integer has no -0 */
        return (rl_value){.kind = RL_INT, .i = (int64_t)d};
    return (rl_value){.kind = RL_FLOAT, .f = d};
}

/* False: nothing that a database takes. */
static bool to_value(lua_State *L, int arg, rl_value *v)
{
    rl_kind *box;
    size_t len;

    *v = (rl_value){.kind = RL_NULL};
    switch (lua_type(L, arg)) {
    case LUA_TNIL:
    case LUA_TNONE:
        return true;
    case LUA_TBOOLEAN:
        v->kind = RL_BOOL;
        v->i = lua_toboolean(L, arg);
        return true;
    case LUA_TNUMBER:
        *v = of_number(lua_tonumber(L, arg));
        return true;
    case LUA_TSTRING:
        v->kind = RL_TEXT;
        v->s.p = lua_tolstring(L, arg, &len);
        v->s.n = len;
        return true;
    case LUA_TLIGHTUSERDATA:
        return lua_touserdata(L, arg) == NULL;
    case LUA_TUSERDATA:
        box = to_box(L, arg);
        if (!box)
            return false;
        v->kind = *box;
        v->s = boxed(L, arg);
        return true;
    case TYPE_CDATA:
        v->kind = RL_INT;
        return to_int64(L, arg, &v->i);
    default:
        return false;
    }
}

static const char *name_of(lua_State *L, int arg)
{
    return lua_type(L, arg) == TYPE_CDATA ? "cdata that is no integer of 64 bits with a sign"
                                          : luaL_typename(L, arg);
}

rl_value rl_db_check_param(lua_State *L, int arg, int n)
{
    rl_value v;

    if (to_value(L, arg, &v))
        return v;
    if (lua_istable(L, arg))
        luaL_error(L, "parameter $%d: a plain table; say what it is with db.json or db.array", n);
    luaL_error(L, "parameter $%d: a %s; give a string, number, boolean, null, bytes, json or array",
               n, name_of(L, arg));
    return v;
}

/* Array parameters, in PostgreSQL's spelling. Text is always quoted, so nothing in it is syntax. */

static void add_quoted(rl_buf *out, rl_str s)
{
    rl_buf_add_c(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            rl_buf_add_c(out, '\\');
        rl_buf_add_c(out, s.p[i]);
    }
    rl_buf_add_c(out, '"');
}

static void add_bytes(rl_buf *out, rl_str s)
{
    rl_buf_add(out, "\"\\\\x", 4);
    for (size_t i = 0; i < s.n; i++) {
        rl_buf_add_c(out, "0123456789abcdef"[(uint8_t)s.p[i] >> 4]);
        rl_buf_add_c(out, "0123456789abcdef"[(uint8_t)s.p[i] & 15]);
    }
    rl_buf_add_c(out, '"');
}

static void add_element(rl_buf *out, rl_value v)
{
    switch (v.kind) {
    case RL_NULL:
        rl_buf_add(out, "NULL", 4);
        break;
    case RL_BOOL:
        rl_buf_add_c(out, v.i ? 't' : 'f');
        break;
    case RL_INT:
        rl_buf_printf(out, "%lld", (long long)v.i);
        break;
    case RL_FLOAT:
        if (isnan(v.f))
            rl_buf_add(out, "NaN", 3);
        else
            rl_buf_printf(out, "%.17g", v.f);
        break;
    case RL_BYTES:
        add_bytes(out, v.s);
        break;
    case RL_TEXT:
    case RL_NUMERIC:
    case RL_JSON:
        add_quoted(out, v.s);
        break;
    case RL_ARRAY: /* an array within an array: a list like any other */
        rl_buf_add_str(out, v.s);
        break;
    }
}

/* The table at index is a list without holes; how long. */
static int check_list(lua_State *L, int index)
{
    size_t n = lua_objlen(L, index), keys = 0;

    lua_pushnil(L);
    while (lua_next(L, index)) {
        double key = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : 0;
        if (key < 1 || key > (double)n || key != floor(key))
            luaL_error(L, "db.array: a table that is no list without holes; rille.null is for "
                          "NULL, db.json for objects");
        keys++;
        lua_pop(L, 1);
    }
    if (keys != n)
        luaL_error(L, "db.array: a list with holes; rille.null is for NULL");
    return (int)n;
}

static void add_list(lua_State *L, rl_buf *out, int index, int depth)
{
    rl_value v;

    if (depth > RL_PG_ARRAY_DEPTH)
        luaL_error(L, "db.array: lists nested deeper than %d", RL_PG_ARRAY_DEPTH);
    luaL_checkstack(L, 6, "db.array");
    int n = check_list(L, index);
    rl_buf_add_c(out, '{');
    for (int i = 1; i <= n; i++) {
        if (i > 1)
            rl_buf_add_c(out, ',');
        lua_rawgeti(L, index, i);
        if (lua_istable(L, -1))
            add_list(L, out, lua_gettop(L), depth + 1);
        else if (to_value(L, lua_gettop(L), &v))
            add_element(out, v);
        else
            luaL_error(L, "db.array: element %d is a %s", i, name_of(L, -1));
        lua_pop(L, 1);
    }
    rl_buf_add_c(out, '}');
}

/* array(list): a parameter for an array type. */
static int l_array(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    rl_buf *out = rl_vm_draft(rl_vm_of(L));
    add_list(L, out, 1, 1);
    lua_pushlstring(L, rl_buf_str(out).p, out->len);
    rl_vm_free_draft(out);
    return push_box(L, RL_ARRAY);
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

static void push_cell(lua_State *co, rl_value v);

/* Lists in lists, each marked as by rille.array; NULL is rille.null. What cannot be read stays
 * text. */
static void push_array(lua_State *co, rl_value v)
{
    int top = lua_gettop(co), length[RL_PG_ARRAY_DEPTH + 1] = {0};
    rl_pg_array a;
    rl_pg_token token;

    lua_checkstack(co, RL_PG_ARRAY_DEPTH + 4);
    lua_getfield(co, LUA_REGISTRYINDEX, RL_ARRAY_MARK); /* [mark, list, list in it, …] */
    rl_pg_array_init(&a, v.s, v.delimiter);
    while ((token = rl_pg_array_next(&a)) != RL_PG_END) {
        switch (token) {
        case RL_PG_OPEN:
            lua_newtable(co);
            lua_pushvalue(co, top + 1);
            lua_setmetatable(co, -2);
            length[a.depth] = 0;
            continue;
        case RL_PG_CLOSE:
            if (a.depth == 0)
                continue;
            break;
        case RL_PG_ITEM:
            push_cell(co, rl_pg_read((rl_kind)v.element, a.item.data, a.item.len));
            break;
        case RL_PG_NULL:
            lua_pushlightuserdata(co, NULL);
            break;
        case RL_PG_BAD:
        case RL_PG_END:
            lua_settop(co, top + 1);
            lua_pushlstring(co, v.s.p, v.s.n);
            goto done;
        }
        lua_rawseti(co, -2, ++length[a.depth]);
    }
done:
    lua_remove(co, top + 1);
    rl_pg_array_fini(&a);
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
    case RL_ARRAY:
        push_array(co, v);
        break;
    }
}

static bool holds_json(rl_value v)
{
    return v.kind == RL_JSON || (v.kind == RL_ARRAY && v.element == RL_JSON);
}

/* The names of the columns that hold JSON, or arrays of it: decoding may raise, and so is left
 * to lua/rille/db. */
static void push_json_columns(lua_State *co, const rl_result *r)
{
    int n = 0;

    lua_newtable(co);
    for (unsigned j = 0; j < rl_result_cols(r); j++)
        for (unsigned i = 0; i < rl_result_rows(r); i++)
            if (holds_json(rl_result_cell(r, i, j))) {
                lua_pushstring(co, rl_result_col_name(r, j));
                lua_rawseti(co, -2, ++n);
                break;
            }
}

static void push_columns(lua_State *co, const rl_result *r)
{
    unsigned cols = rl_result_cols(r);

    lua_createtable(co, (int)cols, 0);
    for (unsigned j = 0; j < cols; j++) {
        lua_pushstring(co, rl_result_col_name(r, j));
        lua_rawseti(co, -2, (int)j + 1);
    }
}

/* What a result has that is told behind its rows. */
struct seen {
    bool json, nulls;
};

static void push_names(lua_State *co, const rl_result *r) /* each is interned once */
{
    for (unsigned j = 0; j < rl_result_cols(r); j++)
        lua_pushstring(co, rl_result_col_name(r, j));
}

/* Into the table at `to`; the names of the columns stand from `names` on. */
static void fill_row(lua_State *co, int to, int names, const rl_result *r, unsigned row,
                     struct seen *seen)
{
    for (unsigned j = 0; j < rl_result_cols(r); j++) {
        rl_value v = rl_result_cell(r, row, j);
        if (v.kind == RL_NULL) {
            seen->nulls = true;
            continue;
        }
        seen->json |= v.kind >= RL_JSON && holds_json(v);
        lua_pushvalue(co, names + (int)j);
        push_cell(co, v);
        lua_rawset(co, to);
    }
}

int rl_db_push_result(lua_State *co, const rl_result *r, bool names)
{
    unsigned rows = rl_result_rows(r), cols = rl_result_cols(r);
    struct seen seen = {0};

    lua_checkstack(co, (int)cols + 8);
    lua_createtable(co, (int)rows, 0);
    int at = lua_gettop(co), to = at + (int)cols + 1;
    push_names(co, r);
    for (unsigned i = 0; i < rows; i++) {
        lua_createtable(co, 0, (int)cols);
        fill_row(co, to, at + 1, r, i, &seen);
        lua_rawseti(co, at, (int)i + 1);
    }
    lua_settop(co, at);
    lua_pushnumber(co, (double)rl_result_affected(r));
    if (!seen.json && !(names && seen.nulls))
        return 2;
    if (seen.json)
        push_json_columns(co, r);
    else
        lua_pushnil(co);
    if (!(names && seen.nulls))
        return 3;
    push_columns(co, r);
    return 4;
}

int rl_db_push_row(lua_State *co, const rl_result *r)
{
    unsigned rows = rl_result_rows(r), cols = rl_result_cols(r);
    int at = lua_gettop(co) + 1;
    struct seen seen = {0};

    if (rows > 1) {
        int n = rl_db_push_result(co, r, false);
        lua_pushnumber(co, rows);
        lua_replace(co, at + 1);
        return n;
    }
    lua_checkstack(co, (int)cols + 8);
    if (rows == 1) {
        lua_createtable(co, 0, (int)cols);
        push_names(co, r);
        fill_row(co, at, at + 1, r, 0, &seen);
    }
    lua_settop(co, at); /* nil without a row */
    lua_pushnumber(co, rows);
    if (!seen.json)
        return 2;
    push_json_columns(co, r);
    return 3;
}

static const luaL_Reg functions[] = {
    {"bytes", l_bytes},
    {"json", l_json},
    {"array", l_array},
    {NULL, NULL},
};

void rl_db_open_values(lua_State *L)
{
    luaL_newmetatable(L, VALUE);
    lua_pop(L, 1);
    luaL_register(L, NULL, functions);
}
