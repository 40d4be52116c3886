/* redis.h - one connection to a Redis: a pipeline of commands, their replies, and the messages of
 * subscriptions.
 *
 * What is asked in one turn of the loop leaves in one send; replies come back in the order of their
 * commands. A command has a deadline of its own. One that is cancelled leaves the pipeline in
 * order: its reply is dropped when it comes. But a command that waits on the server (BZPOPMIN)
 * takes something away there when it is answered: cancelled, it takes the connection with it.
 *
 * Nothing is ever sent twice, and nothing here connects again: a connection is opened once, and
 * ends once. Who logs in, picks another server and tries again is lua/rille/redis. */
#ifndef RL_LAYER_REDIS_H
#define RL_LAYER_REDIS_H

#include "io/client.h"
#include "proto/resp.h"

#define RL_REDIS_MAX_UNSENT (64u << 20) /* bytes of commands that the kernel has not taken */
#define RL_REDIS_MAX_QUEUED (64u << 20) /* bytes of messages that nobody has taken */

typedef struct rl_redis rl_redis;
typedef struct rl_redis_command rl_redis_command;

typedef struct rl_redis_events {
    void (*on_open)(void *owner);
    void (*on_message)(void *owner); /* there is one, and there was none before */
    /* The last event; every command has had its answer. Messages that nobody has taken can still
     * be, from in here. why->code is RL_EREDIS_DOWN. */
    void (*on_closed)(void *owner, const rl_err *why);
} rl_redis_events;

typedef struct rl_redis_opts {
    rl_client_opts client;
    unsigned queue; /* messages that nobody has taken, at most; what is more is dropped */
} rl_redis_opts;

rl_redis *rl_redis_open(rl_loop *loop, const rl_redis_opts *opts, const rl_redis_events *events,
                        void *owner);
/* What is under way fails, from the loop; repeating is harmless. */
void rl_redis_close(rl_redis *r);

/* The replies, which are yours, as many as were asked for (a refusal is a reply, too); or why there
 * are none: RL_EREDIS_DOWN, it did not run; RL_EREDIS_DOUBT, it may have. The command is gone. */
typedef void rl_redis_answer_fn(void *arg, rl_resp **replies, const rl_err *err);

typedef struct rl_redis_request {
    rl_str bytes;      /* of all its commands, by rl_resp_add_command(); copied */
    unsigned replies;  /* how many there will be */
    bool blocks;       /* it waits on the server */
    bool subscribes;   /* (un)subscribes `replies` names; the first one changes the connection */
    uint64_t patience; /* ms */
} rl_redis_request;

/* The server takes too little of what it is told: ask for nothing more. */
bool rl_redis_is_full(const rl_redis *r);

/* When the connection is open, and until on_closed. What waits on the server leaves after what the
 * turn has for peers: an answer is brought there before the next one is asked for. */
rl_redis_command *rl_redis_ask(rl_redis *r, const rl_redis_request *request, rl_redis_answer_fn *fn,
                               void *arg);
void rl_redis_cancel(rl_redis_command *c); /* fn will not be called */

/* ["message", channel, payload] or ["pmessage", pattern, channel, payload], checked. */
typedef struct rl_redis_message {
    rl_list link;
    rl_resp *reply;
    uint64_t missed; /* so many that came before it found the queue full */
} rl_redis_message;

rl_redis_message *rl_redis_next_message(rl_redis *r); /* the oldest, yours; or NULL */
void rl_redis_message_free(rl_redis_message *m);

typedef struct rl_redis_figures {
    unsigned pending;   /* requests without an answer */
    unsigned queued;    /* messages that nobody has taken yet */
    uint64_t dropped;   /* messages that found the queue full */
    uint64_t abandoned; /* replies that nobody waited for any more */
    uint64_t silent;    /* ms since the server was last heard */
} rl_redis_figures;

rl_redis_figures rl_redis_look(const rl_redis *r);

#endif
