/* layer.c - a membership is a node on two structures: an index in its group's dense array of
 * members, which fan-out walks, and a link on its channel's list, which closing walks. */
#include "layer/layer.h"

#include "layer/changes.h"
#include "layer/exchange.h"
#include "layer/kept.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

struct group {
    struct membership **members; /* dense, in no order */
    unsigned len, cap;
    uint64_t hash; /* of its name; for the exchange */
    char *name;
    bool kept; /* this worker reads its history */
};

struct membership {
    struct group *group;
    rl_channel *channel;
    unsigned index; /* in group->members */
    rl_list link;   /* on channel->memberships */
};

struct rl_channel {
    rl_layer *layer;
    rl_deliver_fn *deliver;
    void *owner;
    rl_list memberships;
    char *name; /* NULL: not in layer->channels */
};

rl_message *rl_message_new(rl_str body, rl_str frame_head, rl_str frame_payload)
{
    rl_message *m = rl_malloc(sizeof(*m) + body.n);

    m->variants = NULL;
    m->refs = 1;
    atomic_init(&m->holds, 1);
    m->origin = NULL;
    m->frame = NULL;
    m->place = NULL;
    memcpy(m->data, body.p, body.n);
    m->body = (rl_str){m->data, body.n};
    if (frame_head.n) {
        m->frame = rl_shared_new(frame_head.n + frame_payload.n);
        memcpy(m->frame->data, frame_head.p, frame_head.n);
        memcpy(m->frame->data + frame_head.n, frame_payload.p, frame_payload.n);
    }
    return m;
}

/* [place, body, the group's name] behind it. */
rl_message *rl_message_new_placed(rl_str body, const rl_place *place, rl_shared *frame)
{
    size_t tail = sizeof(*place) + body.n;
    rl_message *m = rl_malloc(sizeof(*m) + tail + place->group.n);
    rl_place *own = (rl_place *)(void *)m->data;

    *m = (rl_message){.refs = 1, .frame = frame, .place = own};
    atomic_init(&m->holds, 1);
    memcpy(m->data + sizeof(*place), body.p, body.n);
    memcpy(m->data + tail, place->group.p, place->group.n);
    m->body = (rl_str){m->data + sizeof(*place), body.n};
    *own = (rl_place){place->mark, {m->data + tail, place->group.n}};
    return m;
}

static void free_message(rl_message *m)
{
    rl_variant *v = m->variants;

    while (v) {
        rl_variant *next = v->next;
        rl_shared_unref(v->frame);
        rl_free(v);
        v = next;
    }
    rl_shared_unref(m->frame);
    rl_free(m);
}

/* Where its bytes and variants are. */
static rl_message *own(rl_message *m)
{
    return m->origin ? m->origin : m;
}

void rl_message_unref(rl_message *m)
{
    if (--m->refs)
        return;
    if (m->origin) {
        rl_message_release(m->origin);
        rl_free(m);
    } else {
        rl_message_release(m);
    }
}

rl_message *rl_message_hold(rl_message *m)
{
    m = own(m);
    atomic_fetch_add_explicit(&m->holds, 1, memory_order_relaxed);
    return m;
}

/* The usual message has one holder, who need not lock the bus to learn it. */
void rl_message_release(rl_message *m)
{
    if (atomic_load_explicit(&m->holds, memory_order_acquire) == 1 ||
        atomic_fetch_sub_explicit(&m->holds, 1, memory_order_acq_rel) == 1)
        free_message(m);
}

rl_message *rl_message_of(rl_message *held)
{
    rl_message *m = rl_malloc(sizeof(*m));

    m->refs = 1;
    m->variants = NULL;
    atomic_init(&m->holds, 1);
    m->origin = held;
    m->frame = held->frame;
    m->body = held->body;
    m->place = held->place;
    return m;
}

const rl_variant *rl_message_variant(rl_message *m, uint32_t key)
{
    rl_variant *v = atomic_load_explicit(&own(m)->variants, memory_order_acquire);

    while (v && v->key != key)
        v = v->next;
    return v;
}

const rl_variant *rl_message_add_variant(rl_message *m, uint32_t key, rl_shared *frame)
{
    rl_variant *mine = rl_malloc(sizeof(*mine));
    const rl_variant *theirs;

    *mine = (rl_variant){.key = key, .frame = frame};
    while (!atomic_compare_exchange_weak(&own(m)->variants, &mine->next, mine)) {
        if ((theirs = rl_message_variant(m, key))) {
            rl_shared_unref(frame);
            rl_free(mine);
            return theirs;
        }
    }
    return mine;
}

void rl_layer_init(rl_layer *layer)
{
    uint64_t id[2] = {0};

    *layer = (rl_layer){0};
    if (getrandom(id, sizeof(id), 0) != sizeof(id))
        id[0] = (uint64_t)(uintptr_t)layer;
    snprintf(layer->prefix, sizeof(layer->prefix), "specific.%016llx%016llx!",
             (unsigned long long)id[0], (unsigned long long)id[1]);
}

void rl_layer_fini(rl_layer *layer)
{
    RL_CHECK(layer->nchannels == 0 && layer->groups.len == 0);
    rl_layer_set_rules(layer, NULL, 0);
    rl_map_fini(&layer->channels);
    rl_map_fini(&layer->groups);
    rl_changes_free(layer->changes);
    layer->changes = NULL;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

static bool is_name(rl_str s, bool bang)
{
    if (s.n < 1 || s.n > RL_LAYER_NAME_MAX || !is_word(s.p[0]))
        return false;
    for (size_t i = 1; i < s.n; i++) {
        if (s.p[i] == '!' && bang)
            bang = false;
        else if (!is_word(s.p[i]))
            return false;
    }
    return true;
}

size_t rl_layer_name_fault(rl_str name)
{
    size_t at = 0, last = 0;

    while (at < name.n && is_word(name.p[at]))
        at++;
    if (at == 0 || at == name.n || name.p[at] != '!')
        return at;
    for (last = at + 1; last < name.n && is_word(name.p[last]); last++)
        ;
    return last < name.n ? last : at; /* of a channel's name the first "!" is none */
}

bool rl_layer_valid_group(rl_str name)
{
    return is_name(name, false);
}

bool rl_layer_valid_channel(rl_str name)
{
    return is_name(name, true);
}

/* A channel with a "!" is found by what is in front of it: nobody need be told. */
static void note_channel(rl_layer *layer, rl_change change, rl_str name)
{
    if (layer->changes && !memchr(name.p, '!', name.n))
        rl_changes_note(layer, change, name);
}

rl_channel *rl_channel_open(rl_layer *layer, rl_str name, rl_deliver_fn *deliver, void *owner)
{
    rl_channel *ch = rl_calloc(1, sizeof(*ch));

    ch->layer = layer;
    ch->deliver = deliver;
    ch->owner = owner;
    rl_list_init(&ch->memberships);
    layer->nchannels++;
    if (name.n) {
        ch->name = rl_strndup(name.p, name.n);
        rl_map_put(&layer->channels, name, ch);
        note_channel(layer, RL_CHANNEL_BEGAN, name);
    }
    return ch;
}

static void leave(rl_layer *layer, struct membership *m)
{
    struct group *g = m->group;

    if (rl_exchange_is_shared(layer))
        rl_exchange_count(layer, g->hash, -1);
    g->members[m->index] = g->members[--g->len];
    g->members[m->index]->index = m->index;
    rl_list_remove(&m->link);
    rl_free(m);
    if (g->len)
        return;
    if (g->kept)
        rl_history_unfollow(layer->history, rl_str_of(g->name), layer->reader);
    rl_map_remove(&layer->groups, rl_str_of(g->name));
    if (layer->changes)
        rl_changes_note(layer, RL_GROUP_ENDED, rl_str_of(g->name));
    rl_free(g->members);
    rl_free(g->name);
    rl_free(g);
}

void rl_channel_close(rl_channel *ch)
{
    rl_list *it;

    if (!ch)
        return;
    while ((it = rl_list_first(&ch->memberships)))
        leave(ch->layer, RL_LIST_ENTRY(it, struct membership, link));
    if (ch->name) {
        rl_map_remove(&ch->layer->channels, rl_str_of(ch->name));
        note_channel(ch->layer, RL_CHANNEL_ENDED, rl_str_of(ch->name));
    }
    ch->layer->nchannels--;
    rl_free(ch->name);
    rl_free(ch);
}

void *rl_channel_owner(const rl_channel *ch, rl_deliver_fn *deliver_fn)
{
    return ch && ch->deliver == deliver_fn ? ch->owner : NULL;
}

bool rl_channel_is_member(const rl_channel *ch)
{
    return ch && !rl_list_empty(&ch->memberships);
}

void rl_channel_groups(const rl_channel *ch, rl_buf *out)
{
    if (!ch)
        return;
    RL_LIST_EACH (it, &ch->memberships) {
        const char *name = RL_LIST_ENTRY(it, struct membership, link)->group->name;
        rl_buf_add(out, name, strlen(name) + 1);
    }
}

rl_channel *rl_layer_find(rl_layer *layer, rl_str channel)
{
    rl_channel *ch = layer->find ? layer->find(layer, channel) : NULL;

    return ch ? ch : rl_map_get(&layer->channels, channel);
}

/* A consumer is in few groups, so its list is searched, not the group's array. */
static struct membership *membership_of(const rl_channel *ch, const struct group *g)
{
    RL_LIST_EACH (it, &ch->memberships) {
        struct membership *m = RL_LIST_ENTRY(it, struct membership, link);
        if (m->group == g)
            return m;
    }
    return NULL;
}

bool rl_channel_is_in(const rl_channel *ch, rl_str group)
{
    const struct group *g = ch ? rl_map_get(&ch->layer->groups, group) : NULL;

    return g && membership_of(ch, g);
}

void rl_layer_join(rl_layer *layer, rl_str name, rl_channel *ch)
{
    struct group *g = rl_map_get(&layer->groups, name);

    if (g && membership_of(ch, g))
        return;
    if (!g) {
        g = rl_calloc(1, sizeof(*g));
        g->name = rl_strndup(name.p, name.n);
        g->hash = rl_map_hash(name);
        rl_map_put(&layer->groups, name, g);
        if (layer->changes)
            rl_changes_note(layer, RL_GROUP_BEGAN, name);
        if (layer->nrules && (g->kept = rl_layer_keep_of(layer, name) != NULL))
            rl_history_follow(layer->history, name, layer->reader);
    }
    if (g->len == g->cap) {
        g->cap = g->cap ? g->cap * 2 : 4;
        g->members = rl_realloc(g->members, g->cap * sizeof(*g->members));
    }
    struct membership *m = rl_malloc(sizeof(*m));
    *m = (struct membership){.group = g, .channel = ch, .index = g->len};
    g->members[g->len++] = m;
    rl_list_push(&ch->memberships, &m->link);
    if (rl_exchange_is_shared(layer))
        rl_exchange_count(layer, g->hash, 1);
}

void rl_layer_leave(rl_layer *layer, rl_str name, rl_channel *ch)
{
    struct group *g = rl_map_get(&layer->groups, name);
    struct membership *m = g ? membership_of(ch, g) : NULL;

    if (m)
        leave(layer, m);
}

bool rl_layer_is_member(const rl_layer *layer, rl_str name, rl_channel *ch)
{
    struct group *g = rl_map_get(&layer->groups, name);

    return g && membership_of(ch, g);
}

static void deliver(rl_layer *layer, rl_channel *ch, rl_message *m, rl_receipt *receipt)
{
    if (ch->deliver(ch->owner, m)) {
        receipt->delivered++;
        layer->delivered++;
    } else {
        receipt->dropped++;
        layer->dropped++;
    }
}

rl_receipt rl_layer_send(rl_layer *layer, rl_channel *to, rl_message *m)
{
    rl_receipt receipt = {0};

    if (to)
        deliver(layer, to, m, &receipt);
    return receipt;
}

rl_receipt rl_layer_group_send_here(rl_layer *layer, rl_str group, rl_message *m)
{
    rl_receipt receipt = {0};
    struct group *g = rl_map_get(&layer->groups, group);

    /* Delivering only queues: nobody joins or leaves while this walks. */
    for (unsigned i = 0; g && i < g->len; i++)
        deliver(layer, g->members[i]->channel, m, &receipt);
    return receipt;
}

rl_receipt rl_layer_group_send(rl_layer *layer, rl_str group, rl_message *m)
{
    rl_receipt receipt = rl_layer_group_send_here(layer, group, m);

    if (rl_exchange_is_shared(layer))
        rl_exchange_group_send(layer, group, rl_map_hash(group), m, &receipt);
    return receipt;
}

unsigned rl_layer_group_count(rl_layer *layer, rl_str group)
{
    struct group *g = rl_map_get(&layer->groups, group);
    unsigned elsewhere = 0;

    if (rl_exchange_is_shared(layer))
        elsewhere = rl_exchange_group_count(layer, rl_map_hash(group));
    return elsewhere + (g ? g->len : 0);
}

void rl_layer_refollow(rl_layer *layer)
{
    size_t at = 0;
    rl_str name;
    void *value;

    while (rl_map_next(&layer->groups, &at, &name, &value)) {
        struct group *g = value;
        bool kept = rl_layer_keep_of(layer, name) != NULL;
        if (kept && !g->kept)
            rl_history_follow(layer->history, name, layer->reader);
        else if (g->kept && !kept)
            rl_history_unfollow(layer->history, name, layer->reader);
        g->kept = kept;
    }
}

void rl_layer_group_members(rl_layer *layer, rl_str group, rl_buf *out)
{
    struct group *g = rl_map_get(&layer->groups, group);
    char name[RL_LAYER_NAME_MAX + 1];

    for (unsigned i = 0; g && i < g->len; i++) {
        const rl_channel *ch = g->members[i]->channel;
        if (!ch->name)
            layer->name(layer, ch->owner, name);
        rl_buf_add_str(out, rl_str_of(ch->name ? ch->name : name));
        rl_buf_add_c(out, '\n');
    }
}
