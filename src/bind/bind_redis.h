/* bind_redis.h - connections to a Redis in Lua: what its files share.
 *
 * bind_redis.c has a connection's life and what comes by itself, bind_redis_command.c what is asked
 * and replied. A wire is what a userdata stands for. The connection may end before it, and it may
 * be collected before the connection has ended: it goes with the second of the two. */
#ifndef RL_BIND_BIND_REDIS_H
#define RL_BIND_BIND_REDIS_H

#include "bind/bind.h"

#include "layer/redis.h"

typedef struct rl_wire {
    rl_redis *redis;          /* NULL: it is over */
    rl_task *dialler;         /* waits until it is open */
    rl_task *reader;          /* waits for a message */
    rl_task *mourner;         /* waits for the end */
    rl_task *auditor;         /* waits for an outcome */
    bool held;                /* by a userdata */
    rl_err why;               /* it is over */
    rl_list left;             /* messages that were not taken by then */
    rl_redis_figures figures; /* as of then */
    unsigned unconfirmed;     /* commands that were posted, and have no reply yet */
    rl_list outcomes;         /* of those that had, where it matters, until somebody asks */
} rl_wire;

rl_wire *rl_check_wire(lua_State *L, int arg);

/* Null, a string, a number (beyond 2^53 its digits), a table, or an error. */
void rl_push_redis_reply(lua_State *L, const rl_resp *reply);
int rl_push_redis_failure(lua_State *L, const rl_err *err); /* nil, error */

/* The wire is over: whoever waits for an outcome hears so. */
void rl_redis_end_outcomes(rl_wire *w);
void rl_redis_drop_outcomes(rl_wire *w); /* nobody will ask */

/* Add the functions of bind_redis_command.c to the table on top. */
void rl_open_redis_command(lua_State *L);

#endif
