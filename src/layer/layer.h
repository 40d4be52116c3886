/* layer.h - the channel layer of one worker: channels, groups, fan-out.
 *
 * A channel is where one consumer can be reached; a group is a set of channels. Messages are
 * encoded once and shared by reference; what a receiver does with one is its own affair.
 * At most once, in order per sender and receiver; nothing here waits. A layer is one thread's;
 * where there are several, exchange.h makes them one. */
#ifndef RL_LAYER_LAYER_H
#define RL_LAYER_LAYER_H

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "base/shared.h"

#include <stdatomic.h>

#define RL_LAYER_NAME_MAX 99 /* bytes of a channel's or a group's name */

typedef struct rl_layer rl_layer;
typedef struct rl_channel rl_channel;

/* A message's frame in another encoding, made when the first receiver wanted it. */
typedef struct rl_variant {
    struct rl_variant *next;
    uint32_t key;     /* which encoding: the receiver's to say */
    rl_shared *frame; /* NULL: there is none, the message's own will do */
} rl_variant;

/* Where a message stands in a group's history (history.h). */
typedef struct rl_mark {
    uint64_t epoch; /* 0: none */
    uint64_t offset;
} rl_mark;

typedef struct rl_place {
    rl_mark mark;
    rl_str group;
} rl_place;

/* Shared, immutable once sent, but for variants, which only grow. References are one worker's, and
 * cost nothing; another worker makes a message of its own of one that is held for it, whose bytes
 * and variants are still the first one's. */
typedef struct rl_message {
    _Atomic(rl_variant *) variants;
    unsigned refs;             /* of this worker */
    _Atomic unsigned holds;    /* on the bytes: one for this worker's references, and others' */
    struct rl_message *origin; /* whose bytes these are; NULL: its own */
    rl_shared *frame;          /* {type = "websocket.send"}: a whole WebSocket frame; else NULL */
    rl_str body;               /* the message as a table, encoded */
    const rl_place *place;     /* NULL: it is in no history */
    char data[];
} rl_message;

/* One reference, yours. An empty frame_head: the message is no frame. */
rl_message *rl_message_new(rl_str body, rl_str frame_head, rl_str frame_payload);
rl_message *rl_message_new_placed(rl_str body, const rl_place *place, rl_shared *frame); /* takes
                                                                     the frame; NULL: none */
void rl_message_unref(rl_message *m);
static inline rl_message *rl_message_ref(rl_message *m)
{
    m->refs++;
    return m;
}

/* NULL: nobody has made one. */
const rl_variant *rl_message_variant(rl_message *m, uint32_t key);
/* Takes your reference to the frame. Several threads may do this at once; those that come late get
 * what the first has made. */
const rl_variant *rl_message_add_variant(rl_message *m, uint32_t key, rl_shared *frame);

/* For another thread: it ends in rl_message_of() or rl_message_release() there. */
rl_message *rl_message_hold(rl_message *m);
void rl_message_release(rl_message *m);
rl_message *rl_message_of(rl_message *held); /* one reference, yours */

/* Take the message (adding a reference to keep it) or refuse: false counts as a drop. */
typedef bool rl_deliver_fn(void *owner, rl_message *m);

/* How much of what it was told a group keeps. */
typedef struct rl_keep {
    unsigned size; /* messages */
    uint64_t ttl;  /* ms */
    bool stamp;    /* texts for sockets say where they stand */
} rl_keep;

struct rl_seat;
struct rl_changes;
struct rl_history;
typedef struct rl_rule rl_rule; /* kept.h */

struct rl_layer {
    struct rl_seat *seat;       /* among several; NULL: alone */
    struct rl_changes *changes; /* for other processes; NULL: nobody asks */
    rl_channel *(*find)(rl_layer *layer, rl_str channel); /* its owner's means; NULL: none */
    /* Likewise the name of a channel that has none in it. */
    void (*name)(rl_layer *layer, void *owner, char out[RL_LAYER_NAME_MAX + 1]);
    rl_map channels; /* name to rl_channel, of those that have one */
    unsigned nchannels;
    rl_map groups;   /* name to struct group */
    char prefix[48]; /* of the names of this worker's consumers: "specific.<random>!" */
    uint64_t delivered, dropped;
    struct rl_history *history; /* the process's; NULL: none, and no rules */
    unsigned reader;            /* as whom this worker reads it */
    unsigned nrules;
    rl_rule *rules; /* which groups keep their history */
};

void rl_layer_init(rl_layer *layer);
void rl_layer_fini(rl_layer *layer); /* every channel must be closed */

/* Letters, digits, hyphens, underscores, dots; 1 to 99 bytes; a channel may have one "!". */
bool rl_layer_valid_group(rl_str name);
bool rl_layer_valid_channel(rl_str name);
size_t rl_layer_name_fault(rl_str name); /* where the first byte is that is in no name, or a "!" */

/* An empty name: the channel is found by its owner's means, and joins groups like any other. */
rl_channel *rl_channel_open(rl_layer *layer, rl_str name, rl_deliver_fn *deliver, void *owner);
void rl_channel_close(rl_channel *ch); /* leaves every group; NULL is fine */
/* Whom it was opened for with that function; NULL: another's, or no channel. */
void *rl_channel_owner(const rl_channel *ch, rl_deliver_fn *deliver);
bool rl_channel_is_member(const rl_channel *ch); /* of any group; NULL is not */
void rl_channel_groups(const rl_channel *ch, rl_buf *out); /* each name with a NUL behind it */
bool rl_channel_is_in(const rl_channel *ch, rl_str group); /* likewise */

/* On this worker, by the owner's means or by name. NULL: nobody has that name. */
rl_channel *rl_layer_find(rl_layer *layer, rl_str channel);
void rl_layer_join(rl_layer *layer, rl_str group, rl_channel *ch); /* joining twice is joining */
void rl_layer_leave(rl_layer *layer, rl_str group, rl_channel *ch);
bool rl_layer_is_member(const rl_layer *layer, rl_str group, rl_channel *ch);

/* Members on other workers count as delivered when the message is on its way to their worker. What
 * becomes of it there is in that worker's figures. */
typedef struct rl_receipt {
    unsigned delivered;
    unsigned dropped;
} rl_receipt;

rl_receipt rl_layer_send(rl_layer *layer, rl_channel *to, rl_message *m); /* NULL: nobody */
rl_receipt rl_layer_group_send(rl_layer *layer, rl_str group, rl_message *m);
rl_receipt rl_layer_group_send_here(rl_layer *layer, rl_str group, rl_message *m); /* this worker */
unsigned rl_layer_group_count(rl_layer *layer, rl_str group); /* on all workers */
/* The names of the members' channels on this worker, each with a newline behind it. */
void rl_layer_group_members(rl_layer *layer, rl_str group, rl_buf *out);

void rl_layer_refollow(rl_layer *layer); /* for kept.c: the rules have changed */

#endif
