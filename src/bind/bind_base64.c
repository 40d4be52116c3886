/* Bytes as letters (proto/base64.h). */
#include "bind/bind.h"

#include "proto/base64.h"

/* encode(bytes) -> text */
static int l_encode(lua_State *L)
{
    rl_str bytes = rl_check_str(L, 1);
    luaL_argcheck(L, bytes.n <= RL_BASE64_MAX / 2, 1, "more than 256 MiB");

    rl_buf *out = rl_vm_draft(rl_vm_of(L));
    rl_base64_encode(out, bytes, RL_BASE64);
    lua_pushlstring(L, rl_buf_str(out).p, out->len);
    rl_vm_free_draft(out);
    return 1;
}

/* decode(text) -> bytes | nil: it is no such text */
static int l_decode(lua_State *L)
{
    rl_str text = rl_check_str(L, 1);

    rl_buf *out = rl_vm_draft(rl_vm_of(L));
    if (rl_base64_decode(out, text, RL_BASE64))
        lua_pushlstring(L, rl_buf_str(out).p, out->len);
    else
        lua_pushnil(L);
    rl_vm_free_draft(out);
    return 1;
}

static const luaL_Reg functions[] = {
    {"encode", l_encode},
    {"decode", l_decode},
    {NULL, NULL},
};

int rl_open_base64(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
