/* changes.h - which groups have begun and ended on a layer, for whoever tells other processes.
 *
 * A group begins with its first member here and ends with its last; a channel with a name of its
 * own (no "!") when it is opened and closed. What is kept is the difference since it was last
 * taken: what began and ended meanwhile has not happened. A layer that nobody watches keeps
 * nothing. */
#ifndef RL_LAYER_CHANGES_H
#define RL_LAYER_CHANGES_H

#include "layer/layer.h"

typedef enum rl_change {
    RL_GROUP_BEGAN,
    RL_GROUP_ENDED,
    RL_CHANNEL_BEGAN,
    RL_CHANNEL_ENDED
} rl_change;

/* There is something to take; called once, until it has been taken. Not the place to take it. */
typedef void rl_changed_fn(rl_layer *layer);

/* What is there already has begun. It ends with the layer. */
void rl_layer_watch(rl_layer *layer, rl_changed_fn *fn);

typedef void rl_change_fn(void *arg, rl_change change, rl_str name);
void rl_layer_take_changes(rl_layer *layer, rl_change_fn *fn, void *arg); /* it may be told none */
bool rl_layer_is_changing(const rl_layer *layer); /* there is something to take */
bool rl_layer_group_is_changing(const rl_layer *layer, rl_str group); /* this is to be taken */

/* What there is, as if it had all begun. */
void rl_layer_list(rl_layer *layer, rl_change_fn *fn, void *arg);

/* Of layer.c, for a layer that is watched. */
void rl_changes_note(rl_layer *layer, rl_change change, rl_str name);
void rl_changes_free(struct rl_changes *changes); /* NULL is fine */

#endif
