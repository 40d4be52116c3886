/* Pieces of HTTP that scripts look into: header fields, targets, queries, forms. */
#include "bind/bind.h"

#include "base/networks.h"
#include "proto/http_write.h"
#include "proto/url.h"

/* [value so far, next] -> [joined], as RFC 9110 section 5.3 says; cookies with "; ". */
static void join(lua_State *L, rl_str name)
{
    lua_pushstring(L, rl_str_eq(name, RL_STR("cookie")) ? "; " : ", ");
    lua_insert(L, -2);
    lua_concat(L, 3);
}

/* fields(block) -> { name = value, … }. The block is "name\0value\0…" as dispatch gets it;
 * repeated fields are joined. */
static int l_fields(lua_State *L)
{
    rl_str rest = rl_check_str(L, 1), name, value;

    lua_newtable(L);
    while (rl_str_cut(&rest, '\0', &name) && rest.p && rl_str_cut(&rest, '\0', &value)) {
        if (name.n && name.p[0] == ':')
            continue; /* not the request's: see via() */
        lua_pushlstring(L, name.p, name.n);
        lua_pushvalue(L, -1);
        lua_rawget(L, 2); /* [table, name, old or nil] */
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_pushlstring(L, value.p, value.n);
        } else {
            lua_pushlstring(L, value.p, value.n);
            join(L, name);
        }
        lua_rawset(L, 2);
    }
    return 1;
}

/* field(block, name) -> the value of one field | nil: likewise joined */
static int l_field(lua_State *L)
{
    rl_str rest = rl_check_str(L, 1), wanted = rl_check_str(L, 2), name, value;

    lua_settop(L, 2);
    while (rl_str_cut(&rest, '\0', &name) && rest.p && rl_str_cut(&rest, '\0', &value)) {
        if (!rl_str_eq(name, wanted))
            continue;
        lua_pushlstring(L, value.p, value.n);
        if (lua_gettop(L) > 3)
            join(L, name);
    }
    return lua_gettop(L) - 2;
}

/* via(block, name) -> the "target", or what trusted proxies say: "host" or "prefix", without which
 * nothing. These fields stand in front of the block, under names that no header can have. */
static int l_via(lua_State *L)
{
    rl_str rest = rl_check_str(L, 1), wanted = rl_check_str(L, 2), name, value;

    while (rest.n && rest.p[0] == ':' && rl_str_cut(&rest, '\0', &name) &&
           rl_str_cut(&rest, '\0', &value))
        if (rl_str_eq((rl_str){name.p + 1, name.n - 1}, wanted)) {
            lua_pushlstring(L, value.p, value.n);
            return 1;
        }
    return 0;
}

/* network(words) -> true | nil, error: would they do as trusted proxies? */
static int l_network(lua_State *L)
{
    rl_str words = rl_check_str(L, 1);
    rl_networks set = {0};
    rl_err err;
    int rc = rl_networks_add(&set, words, &err);

    rl_networks_fini(&set);
    if (rc < 0)
        return rl_failure(L, &err);
    lua_pushboolean(L, true);
    return 1;
}

/* split(target) -> path (decoded), raw path, query string | nil, error */
static int l_split(lua_State *L)
{
    rl_err err;
    rl_url url;
    int rc = rl_url_split(&url, rl_check_str(L, 1), &err);
    rl_buf *path = rl_vm_draft(rl_vm_of(L));

    if (rc == 0)
        rc = rl_url_decode_path(path, url.path, &err);
    if (rc == 0) {
        lua_pushlstring(L, rl_buf_str(path).p, path->len);
        lua_pushlstring(L, url.path.p, url.path.n);
        lua_pushlstring(L, url.query.p ? url.query.p : "", url.query.n);
    }
    rl_vm_free_draft(path);
    return rc < 0 ? rl_failure(L, &err) : 3;
}

/* form(string) -> { key = first value, … }, { key = { every value }, … } | nil, error */
static int l_form(lua_State *L)
{
    rl_str rest = rl_check_str(L, 1), key, value;
    rl_buf *scratch = rl_vm_draft(rl_vm_of(L));
    rl_err err;
    int rc;

    lua_newtable(L);
    lua_newtable(L); /* [string, first, all] */
    while ((rc = rl_url_form_next(&rest, scratch, &key, &value, &err)) > 0) {
        lua_pushlstring(L, key.p, key.n);
        lua_pushlstring(L, value.p, value.n); /* [.., key, value] */
        lua_pushvalue(L, -2);
        lua_rawget(L, 3);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_pushvalue(L, -2);
            lua_pushvalue(L, -2);
            lua_rawset(L, 2);
            lua_pushvalue(L, -2);
            lua_newtable(L);
            lua_pushvalue(L, -1);
            lua_insert(L, -3); /* [.., key, value, list, key, list] */
            lua_rawset(L, 3);
        } /* [.., key, value, list] */
        lua_insert(L, -2);
        lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
        lua_settop(L, 3);
    }
    rl_vm_free_draft(scratch);
    return rc < 0 ? rl_failure(L, &err) : 2;
}

/* date(unix seconds) -> "Sun, 06 Nov 1994 08:49:37 GMT" */
static int l_date(lua_State *L)
{
    char out[RL_HTTP_DATE_LEN + 1];
    double t = luaL_checknumber(L, 1);
    luaL_argcheck(L, t >= 0 && t < 253402300800.0, 1, "a time from 1970 to 9999 expected");

    rl_http_date(out, (time_t)t);
    lua_pushlstring(L, out, RL_HTTP_DATE_LEN);
    return 1;
}

/* same(a, b) -> are they, in a time that does not tell where they differ? */
static int l_same(lua_State *L)
{
    lua_pushboolean(L, rl_str_same(rl_check_str(L, 1), rl_check_str(L, 2)));
    return 1;
}

static const luaL_Reg functions[] = {
    {"same", l_same}, {"fields", l_fields},   {"field", l_field},
    {"via", l_via},   {"network", l_network}, {"split", l_split},
    {"form", l_form}, {"date", l_date},       {NULL, NULL},
};

int rl_open_http(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
