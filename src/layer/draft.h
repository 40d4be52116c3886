/* draft.h - a message that is to stand in a group's history, and how its place is told to clients.
 *
 * A text that is to be stamped is a JSON object: the frame made of it gets a member "history" with
 * the group, the epoch and the offset as its last. */
#ifndef RL_LAYER_DRAFT_H
#define RL_LAYER_DRAFT_H

#include "layer/layer.h"

/* An epoch as people and clients see it: 16 hexadecimal digits. */
#define RL_EPOCH_SIZE 17
const char *rl_epoch_text(uint64_t epoch, char out[RL_EPOCH_SIZE]);
bool rl_epoch_read(rl_str text, uint64_t *epoch); /* false: it is none */

typedef struct rl_draft {
    rl_str body;    /* as of rl_message */
    rl_str payload; /* of the frame */
    enum { RL_DRAFT_TABLE, RL_DRAFT_TEXT, RL_DRAFT_BYTES } kind;
} rl_draft;
bool rl_draft_is_object(const rl_draft *d); /* text with a brace at either end */

/* The frame that its members are sent, yours; NULL: it is a table, and has none. */
rl_shared *rl_draft_frame(const rl_draft *d, const rl_place *place, bool stamp);

#endif
