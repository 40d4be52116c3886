/* exchange.c - a letter is owned by its writer's outbox, then by the batch it is posted in, then by
 * its reader, who frees it. A request travels with its letter there and back, and is freed where it
 * comes to an end. */
#include "layer/exchange.h"

#include "base/log.h"
#include "layer/directory.h"
#include "layer/kept.h"

#include <string.h>

enum { TELL_EVERY = 10000 }; /* ms: drops are told no oftener */

enum kind { TO_GROUP, TO_CHANNEL, NEWS, JOIN, LEAVE, LIST, ANSWER };

struct rl_request {
    rl_placed_fn *placed; /* both NULL: forgotten */
    rl_listed_fn *listed;
    void *arg;
    rl_buf members; /* filled in by whoever reads a LIST */
};

struct letter {
    rl_list link;
    enum kind kind;
    bool found;          /* ANSWER */
    unsigned from;       /* the writer's seat */
    rl_message *m;       /* TO_GROUP, TO_CHANNEL: held */
    rl_request *request; /* JOIN, LEAVE, LIST, ANSWER */
    size_t ngroup, nchannel;
    char names[]; /* the group's, then the channel's */
};

struct outbox {
    rl_list letters;
    rl_list link; /* on seat.full, or alone */
};

struct rl_seat {
    rl_exchange *exchange;
    unsigned index;
    const char *prefix; /* of its channels */

    /* for all */
    pthread_mutex_t lock;
    rl_loop *loop;            /* guarded by lock; NULL: it was left */
    _Atomic unsigned waiting; /* letters with messages on the way to it, */
    _Atomic size_t weight;    /* and their bytes */
    rl_directory directory;

    /* for its own thread */
    rl_layer *layer; /* NULL: left */
    rl_loop *own;
    rl_hook hook;
    rl_list full;     /* outboxes with something in them */
    uint64_t untold;  /* messages dropped that the log has not told of */
    uint64_t told_at; /* ms on the loop's clock; 0: never */
    struct outbox outboxes[RL_EXCHANGE_MAX];
};

struct rl_exchange {
    rl_exchange_limits limits;
    _Atomic unsigned count;
    rl_seat *seats[RL_EXCHANGE_MAX];
};

struct batch {
    rl_post post;
    rl_seat *to;
    rl_list letters;
};

static rl_str group_of(const struct letter *l)
{
    return (rl_str){l->names, l->ngroup};
}

static rl_str channel_of(const struct letter *l)
{
    return (rl_str){l->names + l->ngroup, l->nchannel};
}

static size_t weight_of(const rl_message *m)
{
    return m->body.n + (m->frame ? m->frame->n : 0);
}

static unsigned count_of(rl_exchange *x)
{
    return atomic_load_explicit(&x->count, memory_order_acquire);
}

/* Writing */

static struct letter *new_letter(rl_seat *from, enum kind kind, rl_str group, rl_str channel)
{
    struct letter *l = rl_malloc(sizeof(*l) + group.n + channel.n);

    *l = (struct letter){
        .kind = kind, .from = from->index, .ngroup = group.n, .nchannel = channel.n};
    if (group.n)
        memcpy(l->names, group.p, group.n);
    if (channel.n)
        memcpy(l->names + group.n, channel.p, channel.n);
    return l;
}

static void end_request(rl_request *q, bool found)
{
    if (q->placed)
        q->placed(q->arg, found);
    if (q->listed)
        q->listed(q->arg, rl_buf_str(&q->members));
    rl_buf_fini(&q->members);
    rl_free(q);
}

/* Nobody is there to read it: its writer's requests get an answer. An answer that comes back had a
 * worker to go to that has ended since, and with it whoever had asked. */
static void send_back(rl_list *letters)
{
    rl_list *it;

    while ((it = rl_list_pop(letters))) {
        struct letter *l = RL_LIST_ENTRY(it, struct letter, link);
        if (l->m)
            rl_message_release(l->m);
        if (l->request)
            end_request(l->request, false);
        rl_free(l);
    }
}

static void read_batch(rl_post *post);

/* From any seat. */
static void post_all(rl_seat *to, rl_list *letters)
{
    struct batch *b = rl_malloc(sizeof(*b));

    b->post.fn = read_batch;
    b->to = to;
    rl_list_init(&b->letters);
    rl_list_take(&b->letters, letters);
    pthread_mutex_lock(&to->lock);
    bool posted = to->loop && rl_loop_post(to->loop, &b->post);
    pthread_mutex_unlock(&to->lock);
    if (posted)
        return;
    send_back(&b->letters);
    rl_free(b);
}

static bool flush(rl_hook *hook)
{
    rl_seat *s = RL_CONTAINER_OF(hook, rl_seat, hook);
    rl_list *it;

    while ((it = rl_list_pop(&s->full))) {
        struct outbox *box = RL_LIST_ENTRY(it, struct outbox, link);
        post_all(s->exchange->seats[box - s->outboxes], &box->letters);
    }
    return false;
}

static void write_to(rl_seat *from, rl_seat *to, struct letter *l)
{
    struct outbox *box = &from->outboxes[to->index];

    rl_list_init(&l->link);
    rl_list_push(&box->letters, &l->link);
    if (!rl_list_alone(&box->link))
        return;
    rl_list_push(&from->full, &box->link);
    rl_loop_kick(from->own);
}

/* Messages */

static bool take_room(rl_seat *to, size_t weight)
{
    const rl_exchange_limits *most = &to->exchange->limits;
    unsigned letters = atomic_fetch_add_explicit(&to->waiting, 1, memory_order_relaxed);
    size_t bytes = atomic_fetch_add_explicit(&to->weight, weight, memory_order_relaxed);

    if (letters < most->letters && (bytes == 0 || bytes + weight <= most->bytes))
        return true;
    atomic_fetch_sub_explicit(&to->waiting, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&to->weight, weight, memory_order_relaxed);
    return false;
}

static void note_drop(rl_seat *from, const rl_seat *to)
{
    uint64_t now = rl_loop_now(from->own);

    from->untold++;
    if (from->told_at && now < from->told_at + TELL_EVERY)
        return;
    rl_warn("worker %u does not keep up: %llu messages for it dropped by worker %u", to->index,
            (unsigned long long)from->untold, from->index);
    from->untold = 0;
    from->told_at = now;
}

/* For so many receivers. */
static void send_message(rl_seat *from, rl_seat *to, struct letter *l, rl_message *m,
                         unsigned receivers, rl_receipt *receipt)
{
    if (!take_room(to, weight_of(m))) {
        rl_free(l);
        receipt->dropped += receivers;
        from->layer->dropped += receivers;
        from->own->counters.messages_crowded += receivers;
        note_drop(from, to);
        return;
    }
    l->m = rl_message_hold(m);
    receipt->delivered += receivers;
    write_to(from, to, l);
}

void rl_exchange_group_send(rl_layer *layer, rl_str name, uint64_t group, rl_message *m,
                            rl_receipt *receipt)
{
    rl_seat *from = layer->seat;
    unsigned n = count_of(from->exchange);

    for (unsigned i = 0; i < n; i++) {
        rl_seat *to = from->exchange->seats[i];
        unsigned members = to == from ? 0 : rl_directory_count(&to->directory, group);
        if (members)
            send_message(from, to, new_letter(from, TO_GROUP, name, RL_STR("")), m, members,
                         receipt);
    }
}

unsigned rl_exchange_group_count(rl_layer *layer, uint64_t group)
{
    rl_seat *self = layer->seat;
    unsigned n = count_of(self->exchange), members = 0;

    for (unsigned i = 0; i < n; i++)
        if (self->exchange->seats[i] != self)
            members += rl_directory_count(&self->exchange->seats[i]->directory, group);
    return members;
}

void rl_exchange_count(rl_layer *layer, uint64_t group, int members)
{
    rl_directory_add(&layer->seat->directory, group, members);
}

/* Channels */

/* The other worker whose channels' names begin so, or NULL. */
static rl_seat *find_seat(rl_seat *from, rl_str channel)
{
    unsigned n = count_of(from->exchange);

    for (unsigned i = 0; i < n; i++) {
        rl_seat *s = from->exchange->seats[i];
        if (s != from && rl_str_starts(channel, rl_str_of(s->prefix)))
            return s;
    }
    return NULL;
}

void rl_exchange_wake(rl_layer *layer, rl_str group, const rl_seats *seats)
{
    rl_seat *from = layer->seat;
    unsigned n = count_of(from->exchange);

    for (unsigned i = 0; i < n; i++)
        if (rl_seats_has(seats, i))
            write_to(from, from->exchange->seats[i], new_letter(from, NEWS, group, RL_STR("")));
}

bool rl_exchange_has(rl_layer *layer, rl_str channel)
{
    return find_seat(layer->seat, channel) != NULL;
}

const char *rl_exchange_prefix(const rl_layer *layer, unsigned seat)
{
    rl_exchange *x = layer->seat->exchange;

    return seat < count_of(x) ? x->seats[seat]->prefix : NULL;
}

bool rl_exchange_send(rl_layer *layer, rl_str channel, rl_message *m, rl_receipt *receipt)
{
    rl_seat *from = layer->seat, *to = find_seat(from, channel);

    if (!to)
        return false;
    send_message(from, to, new_letter(from, TO_CHANNEL, RL_STR(""), channel), m, 1, receipt);
    return true;
}

rl_request *rl_exchange_ask(rl_layer *layer, rl_str group, rl_str channel, bool join,
                            rl_placed_fn *fn, void *arg)
{
    rl_seat *from = layer->seat, *to = find_seat(from, channel);

    RL_CHECK(to);
    struct letter *l = new_letter(from, join ? JOIN : LEAVE, group, channel);
    rl_request *q = rl_malloc(sizeof(*q));
    *q = (rl_request){.placed = fn, .arg = arg};
    l->request = q;
    write_to(from, to, l);
    return q;
}

rl_request *rl_exchange_list(rl_layer *layer, rl_str group, unsigned seat, rl_listed_fn *fn,
                             void *arg)
{
    rl_seat *from = layer->seat, *to = from->exchange->seats[seat];

    if (to == from || !rl_directory_count(&to->directory, rl_map_hash(group)))
        return NULL;
    struct letter *l = new_letter(from, LIST, group, RL_STR(""));
    rl_request *q = rl_malloc(sizeof(*q));
    *q = (rl_request){.listed = fn, .arg = arg};
    l->request = q;
    write_to(from, to, l);
    return q;
}

void rl_exchange_forget(rl_request *q)
{
    q->placed = NULL;
    q->listed = NULL;
}

/* Reading */

static void answer(rl_seat *s, const struct letter *l, bool found)
{
    struct letter *back = new_letter(s, ANSWER, RL_STR(""), RL_STR(""));
    rl_seat *to = s->exchange->seats[l->from];
    rl_list alone;

    back->found = found;
    back->request = l->request;
    if (s->layer) {
        write_to(s, to, back);
        return;
    }
    rl_list_init(&alone); /* there is no later */
    rl_list_push(&alone, &back->link);
    post_all(to, &alone);
}

static void place(rl_seat *s, const struct letter *l)
{
    rl_channel *ch = s->layer ? rl_layer_find(s->layer, channel_of(l)) : NULL;

    if (ch && l->kind == JOIN)
        rl_layer_join(s->layer, group_of(l), ch);
    else if (ch)
        rl_layer_leave(s->layer, group_of(l), ch);
    answer(s, l, ch != NULL);
}

static void list(rl_seat *s, const struct letter *l)
{
    if (s->layer)
        rl_layer_group_members(s->layer, group_of(l), &l->request->members);
    answer(s, l, true);
}

static void deliver(rl_seat *s, const struct letter *l)
{
    if (!s->layer) {
        rl_message_release(l->m);
        return;
    }
    rl_message *m = rl_message_of(l->m);
    rl_channel *ch = l->kind == TO_CHANNEL ? rl_layer_find(s->layer, channel_of(l)) : NULL;
    if (l->kind == TO_GROUP)
        rl_layer_group_send_here(s->layer, group_of(l), m);
    else if (ch)
        rl_layer_send(s->layer, ch, m);
    else
        s->own->counters.messages_astray++;
    rl_message_unref(m);
}

static void read_letter(rl_seat *s, struct letter *l)
{
    switch (l->kind) {
    case TO_GROUP:
    case TO_CHANNEL:
        atomic_fetch_sub_explicit(&s->waiting, 1, memory_order_relaxed);
        atomic_fetch_sub_explicit(&s->weight, weight_of(l->m), memory_order_relaxed);
        deliver(s, l);
        break;
    case NEWS:
        if (s->layer)
            rl_layer_group_read(s->layer, group_of(l));
        break;
    case JOIN:
    case LEAVE:
        place(s, l);
        break;
    case LIST:
        list(s, l);
        break;
    case ANSWER:
        end_request(l->request, l->found);
        break;
    }
    rl_free(l);
}

static void read_batch(rl_post *post)
{
    struct batch *b = RL_CONTAINER_OF(post, struct batch, post);
    rl_list *it;

    while ((it = rl_list_pop(&b->letters)))
        read_letter(b->to, RL_LIST_ENTRY(it, struct letter, link));
    rl_free(b);
}

/* Seats */

rl_exchange *rl_exchange_new(const rl_exchange_limits *limits)
{
    rl_exchange *x = rl_calloc(1, sizeof(*x));

    x->limits = *limits;
    if (!x->limits.letters)
        x->limits.letters = 65536;
    if (!x->limits.bytes)
        x->limits.bytes = 64 << 20;
    return x;
}

void rl_exchange_free(rl_exchange *x)
{
    for (unsigned i = 0; i < count_of(x); i++) {
        rl_seat *s = x->seats[i];
        RL_CHECK(!s->layer);
        rl_directory_fini(&s->directory);
        pthread_mutex_destroy(&s->lock);
        rl_free(s);
    }
    rl_free(x);
}

void rl_exchange_enter(rl_exchange *x, rl_layer *layer, rl_loop *loop)
{
    unsigned index = count_of(x);
    rl_seat *s = rl_calloc(1, sizeof(*s));

    RL_CHECK(index < RL_EXCHANGE_MAX);
    s->exchange = x;
    s->index = index;
    s->prefix = layer->prefix;
    pthread_mutex_init(&s->lock, NULL);
    s->loop = s->own = loop;
    s->layer = layer;
    rl_list_init(&s->full);
    for (unsigned i = 0; i < RL_EXCHANGE_MAX; i++) {
        rl_list_init(&s->outboxes[i].letters);
        rl_list_init(&s->outboxes[i].link);
    }
    /* What the turn's handlers have written goes out before this worker's own sockets are served,
     * so that the others work meanwhile. */
    rl_loop_add_hook(loop, RL_PHASE_ASK, &s->hook, flush);
    layer->seat = s;
    layer->reader = index;
    x->seats[index] = s;
    atomic_store_explicit(&x->count, index + 1, memory_order_release);
}

void rl_exchange_leave(rl_layer *layer)
{
    rl_seat *s = layer->seat;

    flush(&s->hook);
    rl_loop_remove_hook(&s->hook);
    pthread_mutex_lock(&s->lock);
    s->loop = NULL;
    pthread_mutex_unlock(&s->lock);
    s->layer = NULL;
    layer->seat = NULL;
}

bool rl_exchange_is_shared(const rl_layer *layer)
{
    return layer->seat && count_of(layer->seat->exchange) > 1;
}
