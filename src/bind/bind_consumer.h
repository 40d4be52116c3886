/* bind_consumer.h - what the files of rille.core.consumer share; for nobody else. Each puts its
 * functions into the table on the stack. */
#ifndef RL_BIND_CONSUMER_H
#define RL_BIND_CONSUMER_H

#include "bind/bind.h"

static inline int rl_bind_gone(lua_State *L)
{
    rl_err err;

    rl_err_set(&err, RL_ECLOSED, "the connection is closed");
    return rl_failure(L, &err);
}

static inline rl_consumer *rl_bind_find(lua_State *L, int arg)
{
    return rl_roster_find(&rl_worker_of(L)->roster, luaL_checknumber(L, arg));
}

/* true, or nil and the error. */
static inline int rl_bind_outcome(lua_State *L, int rc, const rl_err *err)
{
    if (rc < 0)
        return rl_failure(L, err);
    lua_pushboolean(L, true);
    return 1;
}

void rl_open_consumer_http(lua_State *L);   /* the handshake's, or a request's, answer */
void rl_open_consumer_facts(lua_State *L);  /* who is there, and how */
void rl_open_consumer_direct(lua_State *L); /* what compiled Lua calls by itself */
void rl_open_consumer_look(lua_State *L);   /* for whoever looks into a process */

#endif
