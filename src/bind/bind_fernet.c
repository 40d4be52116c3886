/* Sealed messages (proto/fernet.h). */
#include "bind/bind.h"

#include "proto/fernet.h"

#include <math.h>
#include <sys/random.h>
#include <time.h>

#define KEYS "rille.FernetKeys"

enum { MAX_KEYS = 32, MAX_PLAIN = 256 << 20 };

struct keys {
    size_t n;
    rl_fernet_key keys[];
};

/* keys(passphrases) -> keys */
static int l_keys(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    size_t n = lua_objlen(L, 1);
    luaL_argcheck(L, n >= 1 && n <= MAX_KEYS, 1, "1 to 32 passphrases expected");
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 1, (int)i + 1);
        luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, 1, "passphrases are strings");
        lua_pop(L, 1);
    }

    struct keys *k = lua_newuserdata(L, sizeof(*k) + n * sizeof(k->keys[0]));
    k->n = n;
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 1, (int)i + 1);
        k->keys[i] = rl_fernet_derive(rl_check_str(L, -1));
        lua_pop(L, 1);
    }
    luaL_getmetatable(L, KEYS);
    lua_setmetatable(L, -2);
    return 1;
}

static int keys_gc(lua_State *L)
{
    struct keys *k = luaL_checkudata(L, 1, KEYS);

    rl_fernet_forget(k->keys, k->n);
    k->n = 0;
    return 0;
}

/* seal(keys, plain) -> token */
static int l_seal(lua_State *L)
{
    const struct keys *k = luaL_checkudata(L, 1, KEYS);
    rl_str plain = rl_check_str(L, 2);
    uint8_t iv[RL_FERNET_IV];
    luaL_argcheck(L, plain.n <= MAX_PLAIN, 2, "more than 256 MiB");
    if (getrandom(iv, sizeof(iv), 0) != sizeof(iv))
        return luaL_error(L, "fernet.seal: the system has no random bytes");

    rl_buf *out = rl_vm_draft(rl_vm_of(L));
    rl_fernet_seal(&k->keys[0], (uint64_t)time(NULL), iv, plain, out);
    lua_pushlstring(L, rl_buf_str(out).p, out->len);
    rl_vm_free_draft(out);
    return 1;
}

/* open(keys, token, ttl) -> plain | nil, error */
static int l_open(lua_State *L)
{
    const struct keys *k = luaL_checkudata(L, 1, KEYS);
    rl_str token = rl_check_str(L, 2);
    double ttl = luaL_optnumber(L, 3, -1);
    uint64_t seconds = ttl >= 0 && ttl <= 1e15 ? (uint64_t)floor(ttl) : RL_FERNET_NO_TTL;
    rl_err err;

    rl_buf *out = rl_vm_draft(rl_vm_of(L));
    int rc = rl_fernet_open(k->keys, k->n, (uint64_t)time(NULL), seconds, token, out, &err);
    if (rc == 0)
        lua_pushlstring(L, rl_buf_str(out).p, out->len);
    rl_vm_free_draft(out);
    return rc == 0 ? 1 : rl_failure(L, &err);
}

static const luaL_Reg functions[] = {
    {"keys", l_keys},
    {"seal", l_seal},
    {"open", l_open},
    {NULL, NULL},
};

int rl_open_fernet(lua_State *L)
{
    luaL_newmetatable(L, KEYS);
    lua_pushcfunction(L, keys_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
