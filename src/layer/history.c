/* history.c - a stream is a ring of messages whose offsets follow from the last one's, and the few
 * workers that read it. It is on `kept` while it has messages, the longest silent first; on `idle`
 * while nobody reads it, the longest unused first.
 *
 *     first = last - count + 1                            last
 *       | what a reader has yet to read, or may be asked for |
 */
#include "layer/history.h"

#include "base/log.h"

#include <pthread.h>
#include <string.h>
#include <sys/random.h>

enum {
    PATIENCE = 65536,    /* messages behind `size` that wait for a reader */
    SWEEP_EVERY = 2000,  /* ms: no oftener, whoever asks */
    TELL_EVERY = 10000,  /* ms: losses are told no oftener */
    STREAM_WEIGHT = 256, /* roughly: bytes of an empty one */
};

struct entry {
    rl_message *m; /* held */
    uint64_t at;   /* ms: when it came */
};

struct reader {
    unsigned seat;
    bool woken;      /* and has not read since */
    uint64_t cursor; /* the offset it has read last */
};

struct stream {
    rl_list kept, idle; /* the history's lists, or alone */
    char *name;
    uint64_t epoch, last;
    struct entry *ring; /* cap, a power of two or 0; offset o is at o & (cap - 1) */
    size_t cap, count;
    size_t bytes;
    struct reader *readers;
    unsigned nreaders;
    rl_keep keep; /* as of the last message */
};

struct rl_history {
    pthread_mutex_t lock; /* guards all */
    rl_history_limits limits;
    rl_map streams; /* name to struct stream */
    rl_list kept, idle;
    uint64_t swept; /* ms */
    rl_history_figures figures;
    rl_history_figures told; /* of what was given up, by the log, */
    uint64_t told_at;        /* ms: when; 0: never */
};

/* Messages */

static size_t weight_of(const rl_message *m)
{
    return sizeof(*m) + sizeof(struct entry) + m->body.n + (m->frame ? m->frame->n : 0);
}

/* The worker's own of one that is kept. */
static rl_message *take(const struct entry *e)
{
    return rl_message_of(rl_message_hold(e->m));
}

/* Streams */

static uint64_t first_of(const struct stream *s)
{
    return s->last - s->count + 1;
}

static struct entry *entry_at(const struct stream *s, uint64_t offset)
{
    return &s->ring[offset & (s->cap - 1)];
}

static uint64_t random_epoch(void)
{
    uint64_t epoch = 0;

    while (epoch == 0)
        if (getrandom(&epoch, sizeof(epoch), 0) != sizeof(epoch))
            epoch = (uint64_t)(uintptr_t)&epoch;
    return epoch;
}

static void touch_idle(rl_history *h, struct stream *s)
{
    rl_list_remove(&s->idle);
    if (s->nreaders == 0)
        rl_list_push(&h->idle, &s->idle);
}

static void drop_first(rl_history *h, struct stream *s)
{
    struct entry *e = entry_at(s, first_of(s));
    size_t weight = weight_of(e->m);

    rl_message_release(e->m);
    s->count--;
    s->bytes -= weight;
    h->figures.bytes -= weight;
    h->figures.messages--;
    if (s->count)
        return;
    rl_list_remove(&s->kept);
    rl_free(s->ring);
    s->ring = NULL;
    s->cap = 0;
}

static void free_stream(rl_history *h, struct stream *s)
{
    while (s->count)
        drop_first(h, s);
    rl_list_remove(&s->idle);
    rl_map_remove(&h->streams, rl_str_of(s->name));
    h->figures.bytes -= STREAM_WEIGHT;
    h->figures.streams--;
    rl_free(s->readers);
    rl_free(s->name);
    rl_free(s);
}

static struct stream *stream_of(rl_history *h, rl_str group)
{
    struct stream *s = rl_map_get(&h->streams, group);
    rl_list *it;

    if (s) {
        touch_idle(h, s);
        return s;
    }
    while (h->figures.streams >= h->limits.streams && (it = rl_list_first(&h->idle))) {
        free_stream(h, RL_LIST_ENTRY(it, struct stream, idle));
        h->figures.forgotten++;
    }
    s = rl_calloc(1, sizeof(*s));
    s->name = rl_strndup(group.p, group.n);
    s->epoch = random_epoch();
    rl_list_init(&s->kept);
    rl_list_init(&s->idle);
    rl_map_put(&h->streams, group, s);
    h->figures.streams++;
    h->figures.bytes += STREAM_WEIGHT;
    touch_idle(h, s);
    return s;
}

static struct reader *reader_of(struct stream *s, unsigned seat)
{
    for (unsigned i = 0; i < s->nreaders; i++)
        if (s->readers[i].seat == seat)
            return &s->readers[i];
    return NULL;
}

static uint64_t least_cursor(const struct stream *s)
{
    uint64_t least = s->last;

    for (unsigned i = 0; i < s->nreaders; i++)
        if (s->readers[i].cursor < least)
            least = s->readers[i].cursor;
    return least;
}

static bool is_old(const struct stream *s, uint64_t offset, uint64_t now)
{
    return entry_at(s, offset)->at + s->keep.ttl <= now;
}

/* Of what all have read, as much as its settings allow. */
static void trim_stream(rl_history *h, struct stream *s, uint64_t now)
{
    uint64_t read = least_cursor(s);

    while (s->count && first_of(s) <= read &&
           (s->count > s->keep.size || is_old(s, first_of(s), now)))
        drop_first(h, s);
    while (s->count > (size_t)s->keep.size + PATIENCE)
        drop_first(h, s);
}

/* The longest silent give up their messages first; the one that speaks, at last its own oldest. */
static void make_room(rl_history *h)
{
    rl_list *it;

    while (h->figures.bytes > h->limits.bytes && (it = rl_list_first(&h->kept))) {
        struct stream *s = RL_LIST_ENTRY(it, struct stream, kept);
        if (s->count == 1 && it == rl_list_last(&h->kept))
            return; /* the one that was just added is for its readers, however long it is */
        drop_first(h, s);
        h->figures.evicted++;
    }
}

static void grow(struct stream *s)
{
    size_t cap = s->cap ? s->cap * 2 : 8;
    struct entry *ring = rl_malloc(cap * sizeof(*ring));

    for (uint64_t o = first_of(s); s->count && o <= s->last; o++)
        ring[o & (cap - 1)] = *entry_at(s, o);
    rl_free(s->ring);
    s->ring = ring;
    s->cap = cap;
}

static void push(rl_history *h, struct stream *s, rl_message *m, uint64_t now)
{
    size_t weight = weight_of(m);

    if (s->count == s->cap)
        grow(s);
    s->last++;
    s->count++;
    *entry_at(s, s->last) = (struct entry){rl_message_hold(m), now};
    rl_message_unref(m);
    s->bytes += weight;
    h->figures.bytes += weight;
    h->figures.messages++;
    h->figures.added++;
    rl_list_remove(&s->kept);
    rl_list_push(&h->kept, &s->kept);
}

static void wake_readers(struct stream *s, unsigned but, rl_seats *wake)
{
    for (unsigned i = 0; i < s->nreaders; i++) {
        struct reader *r = &s->readers[i];
        if (r->seat == but || r->woken)
            continue;
        r->woken = true;
        wake->bits[r->seat / 64] |= (uint64_t)1 << (r->seat % 64);
    }
}

rl_mark rl_history_add(rl_history *h, rl_str group, const rl_keep *keep, const rl_draft *d,
                       uint64_t now, unsigned seat, rl_seats *wake)
{
    *wake = (rl_seats){0};
    pthread_mutex_lock(&h->lock);
    struct stream *s = stream_of(h, group);
    rl_place place = {{s->epoch, s->last + 1}, group};
    s->keep = *keep;
    rl_shared *frame = rl_draft_frame(d, &place, keep->stamp);
    push(h, s, rl_message_new_placed(d->body, &place, frame), now);
    trim_stream(h, s, now);
    make_room(h);
    wake_readers(s, seat, wake);
    pthread_mutex_unlock(&h->lock);
    return place.mark;
}

/* Reading */

static void follow(rl_history *h, struct stream *s, unsigned seat)
{
    if (reader_of(s, seat))
        return;
    s->readers = rl_realloc(s->readers, (s->nreaders + 1) * sizeof(*s->readers));
    s->readers[s->nreaders++] = (struct reader){.seat = seat, .cursor = s->last};
    touch_idle(h, s);
}

void rl_history_follow(rl_history *h, rl_str group, unsigned seat)
{
    pthread_mutex_lock(&h->lock);
    follow(h, stream_of(h, group), seat);
    pthread_mutex_unlock(&h->lock);
}

void rl_history_unfollow(rl_history *h, rl_str group, unsigned seat)
{
    pthread_mutex_lock(&h->lock);
    struct stream *s = rl_map_get(&h->streams, group);
    struct reader *r = s ? reader_of(s, seat) : NULL;
    if (r) {
        *r = s->readers[--s->nreaders];
        touch_idle(h, s);
    }
    pthread_mutex_unlock(&h->lock);
}

static unsigned take_some(const struct stream *s, uint64_t *after, rl_message **out, unsigned n)
{
    unsigned got = 0;

    while (got < n && *after < s->last)
        out[got++] = take(entry_at(s, ++*after));
    return got;
}

unsigned rl_history_read(rl_history *h, rl_str group, unsigned seat, rl_message **out, unsigned n,
                         unsigned *lost)
{
    unsigned got = 0;

    *lost = 0;
    pthread_mutex_lock(&h->lock);
    struct stream *s = rl_map_get(&h->streams, group);
    struct reader *r = s ? reader_of(s, seat) : NULL;
    if (r) {
        if (r->cursor + 1 < first_of(s)) {
            *lost = (unsigned)(first_of(s) - r->cursor - 1);
            h->figures.unread += *lost;
            r->cursor += *lost;
        }
        got = take_some(s, &r->cursor, out, n);
        if (r->cursor == s->last)
            r->woken = false;
    }
    pthread_mutex_unlock(&h->lock);
    return got;
}

rl_mark rl_history_mark(rl_history *h, rl_str group)
{
    pthread_mutex_lock(&h->lock);
    struct stream *s = stream_of(h, group);
    rl_mark mark = {s->epoch, s->last};
    pthread_mutex_unlock(&h->lock);
    return mark;
}

/* The offset behind which somebody may be given everything. */
static uint64_t oldest_start(const struct stream *s, uint64_t now)
{
    uint64_t start = s->last - s->count;

    while (start < s->last && is_old(s, start + 1, now))
        start++;
    return start;
}

static rl_recovery recover(rl_history *h, struct stream *s, unsigned seat, rl_mark *since,
                           uint64_t last, uint64_t now, rl_message **out, unsigned n, unsigned *got)
{
    const struct reader *r = reader_of(s, seat);
    uint64_t start = oldest_start(s, now);

    if (r && r->cursor < s->last)
        return RL_RECOVERY_BEHIND;
    if (since->epoch == 0) {
        uint64_t most = s->last - start;
        *since = (rl_mark){s->epoch, s->last - (last < most ? last : most)};
    } else if (since->epoch != s->epoch || since->offset > s->last || since->offset < start) {
        *since = (rl_mark){s->epoch, s->last};
        return RL_RECOVERY_GAP;
    }
    *got = take_some(s, &since->offset, out, n);
    if (*got)
        return RL_RECOVERY_MORE;
    follow(h, s, seat);
    return RL_RECOVERY_LEVEL;
}

rl_recovery rl_history_recover(rl_history *h, rl_str group, unsigned seat, rl_mark *since,
                               uint64_t last, uint64_t now, rl_message **out, unsigned n,
                               unsigned *got)
{
    *got = 0;
    pthread_mutex_lock(&h->lock);
    rl_recovery found = recover(h, stream_of(h, group), seat, since, last, now, out, n, got);
    pthread_mutex_unlock(&h->lock);
    return found;
}

void rl_history_note(rl_history *h, bool recovered)
{
    pthread_mutex_lock(&h->lock);
    ++*(recovered ? &h->figures.recovered : &h->figures.gaps);
    pthread_mutex_unlock(&h->lock);
}

/* What has been given up since the log told of it; false: nothing, or it is too early. */
static bool take_losses(rl_history *h, uint64_t now, rl_history_figures *lost)
{
    const rl_history_figures *f = &h->figures, *told = &h->told;

    *lost = (rl_history_figures){.forgotten = f->forgotten - told->forgotten,
                                 .evicted = f->evicted - told->evicted,
                                 .unread = f->unread - told->unread};
    if (!(lost->forgotten || lost->evicted || lost->unread) ||
        (h->told_at && now < h->told_at + TELL_EVERY))
        return false;
    h->told = *f;
    h->told_at = now;
    return true;
}

void rl_history_sweep(rl_history *h, uint64_t now)
{
    rl_history_figures lost;
    bool tell = false;

    pthread_mutex_lock(&h->lock);
    if (now >= h->swept + SWEEP_EVERY) {
        h->swept = now;
        RL_LIST_EACH (it, &h->kept)
            trim_stream(h, RL_LIST_ENTRY(it, struct stream, kept), now);
        tell = take_losses(h, now, &lost);
    }
    pthread_mutex_unlock(&h->lock);
    if (tell)
        rl_warn("histories: %llu groups forgotten (max_histories), %llu messages given up early "
                "(history_bytes), %llu not delivered by a worker that does not keep up",
                (unsigned long long)lost.forgotten, (unsigned long long)lost.evicted,
                (unsigned long long)lost.unread);
}

/* The whole */

void rl_history_limit(rl_history *h, const rl_history_limits *limits)
{
    pthread_mutex_lock(&h->lock);
    h->limits = *limits;
    if (!h->limits.streams)
        h->limits.streams = 10000;
    if (!h->limits.bytes)
        h->limits.bytes = 64 << 20;
    pthread_mutex_unlock(&h->lock);
}

rl_history *rl_history_new(void)
{
    rl_history *h = rl_calloc(1, sizeof(*h));

    pthread_mutex_init(&h->lock, NULL);
    rl_list_init(&h->kept);
    rl_list_init(&h->idle);
    rl_history_limit(h, &(rl_history_limits){0});
    return h;
}

void rl_history_free(rl_history *h)
{
    size_t at = 0;
    rl_str name;
    void *s;

    if (!h)
        return;
    while (rl_map_next(&h->streams, &at, &name, &s))
        free_stream(h, s);
    rl_map_fini(&h->streams);
    pthread_mutex_destroy(&h->lock);
    rl_free(h);
}

void rl_history_figures_of(rl_history *h, rl_history_figures *out)
{
    pthread_mutex_lock(&h->lock);
    *out = h->figures;
    pthread_mutex_unlock(&h->lock);
}
