/* exchange.h - the layers of a process's workers, as one.
 *
 * A worker has a seat. What one has for another (a message to a group that has members there or to
 * one of its channels, the wish that one of its channels join or leave a group) is a letter. The
 * letters of a turn go to each worker together, with one wake-up, in the order in which they were
 * written; a message in them is the sender's own, encoded once and shared by reference. Which
 * worker has members of which group is in a directory that all may read: nobody is written to in
 * vain, and nothing is locked but the queue, once a turn.
 *
 * Nobody waits for a slow worker. Letters wait for it up to a limit; what is sent beyond is
 * dropped, counted, and said in the log. */
#ifndef RL_LAYER_EXCHANGE_H
#define RL_LAYER_EXCHANGE_H

#include "io/loop.h"
#include "layer/history.h"
#include "layer/layer.h"

#define RL_EXCHANGE_MAX 256 /* seats */

typedef struct rl_exchange rl_exchange;
typedef struct rl_seat rl_seat;
typedef struct rl_request rl_request;

typedef struct rl_exchange_limits {
    unsigned letters; /* that wait for one worker; default 65536 */
    size_t bytes;     /* of messages in them; default 64 MiB */
} rl_exchange_limits;

rl_exchange *rl_exchange_new(const rl_exchange_limits *limits); /* zero: the default */
void rl_exchange_free(rl_exchange *x);                          /* every seat has been left */

/* Give a layer the next seat, on its loop, before anybody joins a group there. One thread does this
 * for all. */
void rl_exchange_enter(rl_exchange *x, rl_layer *layer, rl_loop *loop);
/* On the loop's thread, before the layer's end. What still comes is for nobody. */
void rl_exchange_leave(rl_layer *layer);

/* Are there others? The functions below are for layers of which this is true. */
bool rl_exchange_is_shared(const rl_layer *layer);

/* Of layer.c: what the directory and the others are to know. */
void rl_exchange_count(rl_layer *layer, uint64_t group, int members);
void rl_exchange_group_send(rl_layer *layer, rl_str name, uint64_t group, rl_message *m,
                            rl_receipt *receipt);
unsigned rl_exchange_group_count(rl_layer *layer, uint64_t group); /* on other workers */
/* Have these read a group's history. Never refused: the history asks nobody twice. */
void rl_exchange_wake(rl_layer *layer, rl_str group, const rl_seats *seats);

bool rl_exchange_has(rl_layer *layer, rl_str channel); /* is it of another worker's kind? */

/* What the names of a seat's channels begin with; NULL: there is no such seat. */
const char *rl_exchange_prefix(const rl_layer *layer, unsigned seat);

/* To a channel of another worker. False: none has a channel of this name. */
bool rl_exchange_send(rl_layer *layer, rl_str channel, rl_message *m, rl_receipt *receipt);

/* Have a channel of another worker join or leave a group; fn tells on this worker's loop whether
 * there is such a channel. Only for what rl_exchange_has(). */
typedef void rl_placed_fn(void *arg, bool found);
rl_request *rl_exchange_ask(rl_layer *layer, rl_str group, rl_str channel, bool join,
                            rl_placed_fn *fn, void *arg);
/* Have another worker name its members of a group, as rl_layer_group_members() does. NULL: it has
 * none, or is this one. */
typedef void rl_listed_fn(void *arg, rl_str names);
rl_request *rl_exchange_list(rl_layer *layer, rl_str group, unsigned seat, rl_listed_fn *fn,
                             void *arg);
void rl_exchange_forget(rl_request *q); /* fn is not called; it happens nevertheless */

#endif
