/* presence.h - who is in which group: keys, and what each of their connections says of itself.
 *
 * A process has one, which all workers use, under one lock. A key is present in a group for as long
 * as one of its connections is, or lingers there: one that has gone may come back before anybody
 * need know. What changes the answer to "who is here" is a change, and has a number that no other
 * has and later ones exceed, so that those who hear of changes in another order still end up with
 * the right answer. Deciding about when to linger and lapse, and telling, is
 * lua/rille/presence.lua's. */
#ifndef RL_LAYER_PRESENCE_H
#define RL_LAYER_PRESENCE_H

#include "base/buf.h"

typedef struct rl_presence rl_presence;

typedef struct rl_presence_figures {
    size_t connections; /* those that linger included */
    size_t bytes;
    uint64_t refused;
} rl_presence_figures;

typedef enum rl_presence_change {
    RL_PRESENCE_SAME,   /* nobody need hear of it */
    RL_PRESENCE_JOIN,   /* the key is present now */
    RL_PRESENCE_UPDATE, /* it says something else now */
    RL_PRESENCE_LEAVE,
    RL_PRESENCE_FULL, /* refused, for want of bytes */
} rl_presence_change;

/* Which connection of which key in which group. */
typedef struct rl_presence_id {
    rl_str group, key, channel;
} rl_presence_id;

rl_presence *rl_presence_new(void);
void rl_presence_free(rl_presence *p);
void rl_presence_limit(rl_presence *p, size_t bytes); /* 0: 16 MiB */
void rl_presence_figures_of(rl_presence *p, rl_presence_figures *out);

/* What becomes of a change: its number, and what all of the key's connections say by now, added to
 * `metas` as rl_presence_copy() does. */
typedef struct rl_presence_news {
    uint64_t seq;
    rl_buf *metas;
} rl_presence_news;

/* It is there, and says this. One of the key's that lingers is taken to be it, come back. */
rl_presence_change rl_presence_track(rl_presence *p, const rl_presence_id *id, rl_str meta,
                                     rl_presence_news *news);
rl_presence_change rl_presence_untrack(rl_presence *p, const rl_presence_id *id,
                                       rl_presence_news *news);
/* It has gone, but nobody need know yet. */
void rl_presence_linger(rl_presence *p, const rl_presence_id *id);
/* If it lingers still, it is no more. */
rl_presence_change rl_presence_lapse(rl_presence *p, const rl_presence_id *id,
                                     rl_presence_news *news);

/* Everybody: for each connection the lengths of key and meta, two size_t, then both. Returns the
 * number of the last change. */
uint64_t rl_presence_copy(rl_presence *p, rl_str group, rl_buf *out);

#endif
