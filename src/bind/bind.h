/* bind.h - what Lua sees of the core: `require "rille.core"`, one table per file here.
 *
 * A function of the core returns what it says, or nil and an error object for a wrapper in
 * lua/rille to raise; only misuse raises here. Those that may suspend say so in their
 * table; each checks its arguments first, asks rl_task_current() last, and only then acts.
 * lua/rille/_meta/core.lua declares them all for the editor. */
#ifndef RL_BIND_BIND_H
#define RL_BIND_BIND_H

#include "core/consumer.h"

/* Put `rille.core` into package.loaded. */
int rl_open_core(lua_State *L);

/* Each leaves its table on the stack. */
int rl_open_base64(lua_State *L);
int rl_open_channel(lua_State *L);
int rl_open_consumer(lua_State *L);
int rl_open_db(lua_State *L);
int rl_open_fernet(lua_State *L);
int rl_open_fs(lua_State *L);
int rl_open_http(lua_State *L);
int rl_open_json(lua_State *L);
int rl_open_layer(lua_State *L);
int rl_open_metrics(lua_State *L);
int rl_open_mqtt(lua_State *L);
int rl_open_msgpack(lua_State *L);
int rl_open_presence(lua_State *L);
int rl_open_redis(lua_State *L);
int rl_open_task(lua_State *L);
int rl_open_testing(lua_State *L);
int rl_open_worker(lua_State *L);

/* A task for the function at index 1, on its owner's list; pushes its handle. Errors of a watched
 * one are told by whoever waits for it. */
int rl_bind_spawn(lua_State *L, rl_list *owner, bool watched);
/* Of bind_task.c and bind_testing.c: put their functions into the table on the stack. */
void rl_open_task_scope(lua_State *L);
void rl_open_test_peers(lua_State *L);

/* 0 to 1e9. */
double rl_check_seconds(lua_State *L, int arg);

/* In the registry: the metatable that marks a table as an array (rille.array). */
#define RL_ARRAY_MARK "rille.array_mark"

/* A string argument as a slice, valid while the string is on the stack; nil gives nothing. */
rl_str rl_check_str(lua_State *L, int arg);
rl_str rl_opt_str(lua_State *L, int arg);

/* nil and *err, as a C function's results. */
static inline int rl_failure(lua_State *L, const rl_err *err)
{
    return rl_vm_push_failure(L, err);
}

#endif
