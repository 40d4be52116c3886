/* kept.h - groups of a layer that keep their history: which those are, and how they are told.
 *
 * To such a group a message is added to its stream (history.h), and every worker with members
 * delivers what its own cursor has not passed: the sender's at once, the others when they are
 * woken. Whoever comes back is held out of the group until it has been given what it missed, and
 * enters where that ends. A layer without rules pays a comparison for all this. */
#ifndef RL_LAYER_KEPT_H
#define RL_LAYER_KEPT_H

#include "layer/history.h"

/* Which groups keep how much: one by its name, or all whose names begin so. The exact name counts
 * before the longest beginning. */
struct rl_rule {
    char *name;
    bool open; /* a beginning */
    rl_keep keep;
};

/* Have these rules (takes them, and their names) from now on. Groups that are there follow. */
void rl_layer_set_rules(rl_layer *layer, rl_rule *rules, unsigned n);

/* NULL: such a group keeps nothing. */
const rl_keep *rl_layer_keep_of(const rl_layer *layer, rl_str group);

/* Say something to a group that keeps it. `now`: ms on the loop's clock. */
rl_receipt rl_layer_group_add(rl_layer *layer, rl_str group, const rl_keep *keep, const rl_draft *d,
                              uint64_t now, rl_mark *mark);

/* Members hear what they have not yet heard. For exchange.c, when this worker was woken. */
void rl_layer_group_read(rl_layer *layer, rl_str group);

rl_str rl_layer_payload(const rl_shared *frame); /* of one that a history made */

/* A step of a channel's recovery, as of rl_history_recover(), but never BEHIND. While there is MORE
 * it is no member; LEVEL makes it one. */
rl_recovery rl_layer_recover(rl_layer *layer, rl_str group, rl_channel *ch, rl_mark *since,
                             uint64_t last, uint64_t now, rl_message **out, unsigned n,
                             unsigned *got);

#endif
