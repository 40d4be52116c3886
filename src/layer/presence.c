#include "layer/presence.h"

#include "base/list.h"
#include "base/map.h"

#include <pthread.h>
#include <string.h>

enum { WEIGHT = 128 }; /* roughly: bytes of a connection beside its words */

struct conn {
    rl_list link; /* on person->conns */
    bool lingers;
    size_t nchannel, nmeta;
    char words[]; /* channel, meta */
};

struct person {
    rl_list conns;
};

struct room {
    rl_map people; /* key to struct person */
};

struct rl_presence {
    pthread_mutex_t lock; /* guards all */
    rl_map rooms;         /* group to struct room */
    size_t limit;
    uint64_t seq;
    rl_presence_figures figures;
};

static rl_str channel_of(const struct conn *c)
{
    return (rl_str){c->words, c->nchannel};
}

static rl_str meta_of(const struct conn *c)
{
    return (rl_str){c->words + c->nchannel, c->nmeta};
}

static size_t weight_of(rl_str key, rl_str channel, rl_str meta)
{
    return WEIGHT + key.n + channel.n + meta.n;
}

static struct person *person_of(rl_presence *p, const rl_presence_id *id)
{
    struct room *r = rl_map_get(&p->rooms, id->group);

    return r ? rl_map_get(&r->people, id->key) : NULL;
}

static struct conn *conn_of(struct person *person, rl_str channel)
{
    if (!person)
        return NULL;
    RL_LIST_EACH (it, &person->conns) {
        struct conn *c = RL_LIST_ENTRY(it, struct conn, link);
        if (rl_str_eq(channel_of(c), channel))
            return c;
    }
    return NULL;
}

static void drop(rl_presence *p, rl_str key, struct conn *c)
{
    p->figures.bytes -= weight_of(key, channel_of(c), meta_of(c));
    p->figures.connections--;
    rl_list_remove(&c->link);
    rl_free(c);
}

static struct person *make_person(rl_presence *p, const rl_presence_id *id)
{
    struct room *r = rl_map_get(&p->rooms, id->group);
    struct person *person = rl_calloc(1, sizeof(*person));

    if (!r) {
        r = rl_calloc(1, sizeof(*r));
        rl_map_put(&p->rooms, id->group, r);
    }
    rl_list_init(&person->conns);
    rl_map_put(&r->people, id->key, person);
    return person;
}

static void end_person(rl_presence *p, const rl_presence_id *id)
{
    struct room *r = rl_map_get(&p->rooms, id->group);

    rl_free(rl_map_remove(&r->people, id->key));
    if (r->people.len)
        return;
    rl_map_fini(&r->people);
    rl_free(rl_map_remove(&p->rooms, id->group));
}

static void add(rl_presence *p, struct person *person, const rl_presence_id *id, rl_str meta)
{
    struct conn *c = rl_malloc(sizeof(*c) + id->channel.n + meta.n);

    *c = (struct conn){.nchannel = id->channel.n, .nmeta = meta.n};
    memcpy(c->words, id->channel.p, id->channel.n);
    memcpy(c->words + id->channel.n, meta.p, meta.n);
    rl_list_init(&c->link);
    rl_list_push(&person->conns, &c->link);
    p->figures.bytes += weight_of(id->key, id->channel, meta);
    p->figures.connections++;
}

static void copy_conn(rl_buf *out, rl_str key, const struct conn *c)
{
    size_t lengths[2] = {key.n, c->nmeta};

    rl_buf_add(out, lengths, sizeof(lengths));
    rl_buf_add_str(out, key);
    rl_buf_add_str(out, meta_of(c));
}

static void copy_person(rl_buf *out, rl_str key, const struct person *person)
{
    RL_LIST_EACH (it, &person->conns)
        copy_conn(out, key, RL_LIST_ENTRY(it, struct conn, link));
}

static rl_presence_change changed(rl_presence *p, const rl_presence_id *id,
                                  rl_presence_change change, rl_presence_news *news)
{
    struct person *person = person_of(p, id);

    news->seq = ++p->seq;
    if (person)
        copy_person(news->metas, id->key, person);
    return change;
}

/* One that has gone and may be this one: best the one that said the same. */
static struct conn *find_lingering(const struct person *person, rl_str meta)
{
    struct conn *found = NULL;

    RL_LIST_EACH (it, &person->conns) {
        struct conn *c = RL_LIST_ENTRY(it, struct conn, link);
        if (c->lingers && (!found || rl_str_eq(meta_of(c), meta)))
            found = c;
    }
    return found;
}

static rl_presence_change track(rl_presence *p, const rl_presence_id *id, rl_str meta,
                                rl_presence_news *news)
{
    struct person *person = person_of(p, id);
    struct conn *own = conn_of(person, id->channel);
    struct conn *before = own || !person ? own : find_lingering(person, meta);
    bool same = before && rl_str_eq(meta_of(before), meta);
    size_t most =
        before ? p->limit + weight_of(id->key, channel_of(before), meta_of(before)) : p->limit;

    if (p->figures.bytes + weight_of(id->key, id->channel, meta) > most) {
        p->figures.refused++;
        return RL_PRESENCE_FULL;
    }
    bool join = !person;
    if (join)
        person = make_person(p, id);
    if (before)
        drop(p, id->key, before);
    add(p, person, id, meta);
    if (same)
        return RL_PRESENCE_SAME;
    return changed(p, id, join ? RL_PRESENCE_JOIN : RL_PRESENCE_UPDATE, news);
}

static rl_presence_change end(rl_presence *p, const rl_presence_id *id, struct conn *c,
                              rl_presence_news *news)
{
    struct person *person = person_of(p, id);

    drop(p, id->key, c);
    if (!rl_list_empty(&person->conns))
        return changed(p, id, RL_PRESENCE_UPDATE, news);
    end_person(p, id);
    return changed(p, id, RL_PRESENCE_LEAVE, news);
}

rl_presence_change rl_presence_track(rl_presence *p, const rl_presence_id *id, rl_str meta,
                                     rl_presence_news *news)
{
    pthread_mutex_lock(&p->lock);
    rl_presence_change change = track(p, id, meta, news);
    pthread_mutex_unlock(&p->lock);
    return change;
}

rl_presence_change rl_presence_untrack(rl_presence *p, const rl_presence_id *id,
                                       rl_presence_news *news)
{
    pthread_mutex_lock(&p->lock);
    struct conn *c = conn_of(person_of(p, id), id->channel);
    rl_presence_change change = c ? end(p, id, c, news) : RL_PRESENCE_SAME;
    pthread_mutex_unlock(&p->lock);
    return change;
}

void rl_presence_linger(rl_presence *p, const rl_presence_id *id)
{
    pthread_mutex_lock(&p->lock);
    struct conn *c = conn_of(person_of(p, id), id->channel);
    if (c)
        c->lingers = true;
    pthread_mutex_unlock(&p->lock);
}

rl_presence_change rl_presence_lapse(rl_presence *p, const rl_presence_id *id,
                                     rl_presence_news *news)
{
    pthread_mutex_lock(&p->lock);
    struct conn *c = conn_of(person_of(p, id), id->channel);
    rl_presence_change change = c && c->lingers ? end(p, id, c, news) : RL_PRESENCE_SAME;
    pthread_mutex_unlock(&p->lock);
    return change;
}

uint64_t rl_presence_copy(rl_presence *p, rl_str group, rl_buf *out)
{
    size_t at = 0;
    rl_str key;
    void *person;

    pthread_mutex_lock(&p->lock);
    struct room *r = rl_map_get(&p->rooms, group);
    while (r && rl_map_next(&r->people, &at, &key, &person))
        copy_person(out, key, person);
    uint64_t seq = p->seq;
    pthread_mutex_unlock(&p->lock);
    return seq;
}

/* The whole */

void rl_presence_limit(rl_presence *p, size_t bytes)
{
    pthread_mutex_lock(&p->lock);
    p->limit = bytes ? bytes : 16 << 20;
    pthread_mutex_unlock(&p->lock);
}

rl_presence *rl_presence_new(void)
{
    rl_presence *p = rl_calloc(1, sizeof(*p));

    pthread_mutex_init(&p->lock, NULL);
    rl_presence_limit(p, 0);
    return p;
}

static void free_room(rl_presence *p, struct room *r)
{
    size_t at = 0;
    rl_str key;
    void *value;
    rl_list *it;

    while (rl_map_next(&r->people, &at, &key, &value)) {
        struct person *person = value;
        while ((it = rl_list_first(&person->conns)))
            drop(p, key, RL_LIST_ENTRY(it, struct conn, link));
        rl_free(person);
    }
    rl_map_fini(&r->people);
    rl_free(r);
}

void rl_presence_free(rl_presence *p)
{
    size_t at = 0;
    rl_str group;
    void *room;

    if (!p)
        return;
    while (rl_map_next(&p->rooms, &at, &group, &room))
        free_room(p, room);
    rl_map_fini(&p->rooms);
    pthread_mutex_destroy(&p->lock);
    rl_free(p);
}

void rl_presence_figures_of(rl_presence *p, rl_presence_figures *out)
{
    pthread_mutex_lock(&p->lock);
    *out = p->figures;
    pthread_mutex_unlock(&p->lock);
}
