#include "layer/kept.h"

#include "layer/exchange.h"

#include <string.h>

enum { BATCH = 64 };

static void free_rules(rl_rule *rules, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        rl_free(rules[i].name);
    rl_free(rules);
}

void rl_layer_set_rules(rl_layer *layer, rl_rule *rules, unsigned n)
{
    free_rules(layer->rules, layer->nrules);
    layer->rules = rules;
    layer->nrules = n;
    rl_layer_refollow(layer);
}

const rl_keep *rl_layer_keep_of(const rl_layer *layer, rl_str group)
{
    const rl_rule *best = NULL;
    size_t longest = 0;

    for (unsigned i = 0; i < layer->nrules; i++) {
        const rl_rule *r = &layer->rules[i];
        rl_str name = rl_str_of(r->name);
        if (!r->open && rl_str_eq(group, name))
            return &r->keep;
        if (r->open && rl_str_starts(group, name) && (!best || name.n > longest)) {
            best = r;
            longest = name.n;
        }
    }
    return best ? &best->keep : NULL;
}

/* Deliver what has not been, and tell what became of the one at `mark`. */
static rl_receipt read_on(rl_layer *layer, rl_str group, uint64_t offset)
{
    rl_message *batch[BATCH];
    rl_receipt wanted = {0};
    unsigned n, lost;

    do {
        n = rl_history_read(layer->history, group, layer->reader, batch, BATCH, &lost);
        layer->dropped += lost;
        for (unsigned i = 0; i < n; i++) {
            rl_receipt r = rl_layer_group_send_here(layer, group, batch[i]);
            if (batch[i]->place->mark.offset == offset)
                wanted = r;
            rl_message_unref(batch[i]);
        }
    } while (n);
    return wanted;
}

void rl_layer_group_read(rl_layer *layer, rl_str group)
{
    read_on(layer, group, 0);
}

rl_receipt rl_layer_group_add(rl_layer *layer, rl_str group, const rl_keep *keep, const rl_draft *d,
                              uint64_t now, rl_mark *mark)
{
    rl_seats wake;

    *mark = rl_history_add(layer->history, group, keep, d, now, layer->reader, &wake);
    rl_receipt receipt = read_on(layer, group, mark->offset);
    if (rl_exchange_is_shared(layer)) {
        rl_exchange_wake(layer, group, &wake);
        receipt.delivered += rl_exchange_group_count(layer, rl_map_hash(group));
    }
    return receipt;
}

rl_str rl_layer_payload(const rl_shared *frame)
{
    unsigned length = (unsigned char)frame->data[1] & 127;
    size_t head = length == 127 ? 10 : length == 126 ? 4 : 2;

    return (rl_str){frame->data + head, frame->n - head};
}

rl_recovery rl_layer_recover(rl_layer *layer, rl_str group, rl_channel *ch, rl_mark *since,
                             uint64_t last, uint64_t now, rl_message **out, unsigned n,
                             unsigned *got)
{
    rl_recovery found;

    rl_layer_leave(layer, group, ch);
    do {
        rl_layer_group_read(layer, group);
        found =
            rl_history_recover(layer->history, group, layer->reader, since, last, now, out, n, got);
    } while (found == RL_RECOVERY_BEHIND);
    if (found == RL_RECOVERY_LEVEL)
        rl_layer_join(layer, group, ch);
    return found;
}
