#include "net/server.h"

#include "base/log.h"
#include "io/peers.h"
#include "net/http_conn.h"
#include "net/proxied.h"
#include "net/ws_conn.h"
#include "proto/http_write.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

static const uint64_t COMPLAIN_EVERY_MS = 5000;

enum { BEAT_MS = 20000 }; /* of a WebSocket that gets no pings */

void rl_server_init(rl_server *s, rl_conns *conns, const rl_server_events *events)
{
    *s = (rl_server){.conns = conns,
                     .loop = conns->loop,
                     .http_memory = rl_http_conn_memory,
                     .ws_memory = rl_ws_conn_memory,
                     .events = events};
    rl_list_init(&s->https);
    rl_list_init(&s->awaited);
    rl_list_init(&s->lists);
    rl_timeouts_open(&s->requests, s->loop, 0, rl_http_on_request_due);
    rl_timeouts_open(&s->keepalives, s->loop, 0, rl_http_on_keepalive_due);
    rl_timeouts_open(&s->closings, s->loop, 0, rl_ws_on_close_due);
}

/* Limits */

struct deadlines {
    rl_list link;
    rl_timeouts *list;
};

rl_timeouts *rl_server_deadlines(rl_server *s, uint64_t after, rl_timeout_fn *fn)
{
    RL_LIST_EACH (it, &s->lists) {
        struct deadlines *d = RL_LIST_ENTRY(it, struct deadlines, link);
        if (d->list->after == after && d->list->fn == fn)
            return d->list;
    }
    struct deadlines *d = rl_calloc(1, sizeof(*d));
    rl_list_init(&d->link);
    rl_list_push(&s->lists, &d->link);
    d->list = rl_timeouts_new(s->loop, after, fn);
    return d->list;
}

/* A WebSocket is looked at as often as the nearest of its deadlines asks for. */
static uint64_t beat(const rl_limits *l)
{
    uint64_t after = l->ping_interval ? l->ping_interval : BEAT_MS;

    if (l->idle_timeout && l->idle_timeout < after)
        after = l->idle_timeout;
    if (l->max_connection_age && l->max_connection_age / 2 < after)
        after = l->max_connection_age / 2;
    return after ? after : 1;
}

static void fill_set(rl_server *s, rl_limit_set *set, const rl_limits *l)
{
    set->of = *l;
    set->ws_rules.max_message = l->max_message;
    set->ws_rules.max_frame = l->max_frame;
    set->beats = rl_server_deadlines(s, beat(l), rl_ws_on_beat_due);
    set->pongs = rl_server_deadlines(s, l->pong_timeout, rl_ws_on_pong_due);
    set->bodies = NULL;
    if (l->body_timeout)
        set->bodies = rl_server_deadlines(s, l->body_timeout, rl_http_on_body_due);
}

/* The place of a set like this; everybody's own when there are too many. */
static uint16_t place_of(rl_server *s, const rl_limits *l)
{
    unsigned at = s->nsets;

    for (unsigned i = s->nsets; i-- > 1;) {
        if (!s->sets[i])
            at = i;
        else if (memcmp(&s->sets[i]->of, l, sizeof(*l)) == 0)
            return (uint16_t)i;
    }
    if (at == UINT16_MAX)
        return 0;
    if (at == s->nsets)
        s->sets = rl_realloc(s->sets, ++s->nsets * sizeof(rl_limit_set *));
    s->sets[at] = rl_calloc(1, sizeof(rl_limit_set));
    fill_set(s, s->sets[at], l);
    return (uint16_t)at;
}

void rl_server_hold(rl_server *s, uint16_t place)
{
    RL_CHECK(place < s->nsets && s->sets[place]);
    s->sets[place]->holders++;
}

void rl_server_release(rl_server *s, uint16_t place)
{
    if (--s->sets[place]->holders || place == 0)
        return;
    rl_free(s->sets[place]);
    s->sets[place] = NULL;
}

void rl_server_exchange(rl_server *s, uint16_t *held, uint16_t place)
{
    rl_server_hold(s, place);
    rl_server_release(s, *held);
    *held = place;
}

static bool is_of_a_set(const rl_server *s, const rl_timeouts *list)
{
    for (unsigned i = 0; i < s->nsets; i++) {
        const rl_limit_set *set = s->sets[i];
        if (set && (set->beats == list || set->pongs == list || set->bodies == list))
            return true;
    }
    return false;
}

static void free_deadlines(struct deadlines *d)
{
    rl_list_remove(&d->link);
    rl_timeouts_free(d->list);
    rl_free(d);
}

/* Those of a length that nothing has any more. */
static void sweep_deadlines(rl_server *s)
{
    RL_LIST_EACH (it, &s->lists) {
        struct deadlines *d = RL_LIST_ENTRY(it, struct deadlines, link);
        if (rl_list_empty(&d->list->waiting) && !is_of_a_set(s, d->list))
            free_deadlines(d);
    }
}

void rl_server_configure(rl_server *s, const rl_server_limits *limits, const rl_limits *sets,
                         unsigned n, uint16_t *places)
{
    s->limits = *limits;
    s->http_limits = (rl_http_limits){.max_head = limits->max_head,
                                      .max_fields = limits->max_fields,
                                      .max_target = limits->max_target};
    s->requests.after = limits->request_timeout;
    s->keepalives.after = limits->keepalive_timeout;
    s->closings.after = limits->close_timeout;
    s->conns->stalled.after = limits->send_timeout;
    s->conns->min_send_rate = limits->min_send_rate;
    s->conns->high_water = limits->write_high_water;
    if (s->nsets)
        fill_set(s, s->sets[0], &sets[0]);
    for (unsigned i = 0; i < n; i++) {
        places[i] = i == 0 && s->nsets ? 0 : place_of(s, &sets[i]);
        rl_server_hold(s, places[i]);
        /* As much as any route may have: which one it will be, no parser knows. */
        if (sets[i].max_body > s->http_limits.max_body)
            s->http_limits.max_body = sets[i].max_body;
    }
    sweep_deadlines(s);
}

static void close_limits(rl_server *s)
{
    rl_list *it;

    while (s->nsets)
        rl_free(s->sets[--s->nsets]);
    rl_free(s->sets);
    while ((it = rl_list_first(&s->lists)))
        free_deadlines(RL_LIST_ENTRY(it, struct deadlines, link));
}

void rl_server_fini(rl_server *s)
{
    RL_CHECK(rl_list_empty(&s->https) && rl_list_empty(&s->awaited));
    rl_timeouts_close(&s->requests);
    rl_timeouts_close(&s->keepalives);
    close_limits(s);
    rl_networks_fini(&s->trusted);
    rl_timeouts_close(&s->closings);
    rl_deflate_shared_fini(&s->deflate);
    rl_buf_fini(&s->date);
    rl_slab_fini(&s->http_memory);
    rl_slab_fini(&s->ws_memory);
}

/* Not oftener than every few seconds; the count says how many there were. */
static void tell_refusal(rl_server *s, const char *limit, unsigned most, uint64_t count)
{
    uint64_t now = rl_loop_now(s->loop);

    if (s->refused_logged_at && now - s->refused_logged_at <= COMPLAIN_EVERY_MS)
        return;
    s->refused_logged_at = now;
    rl_warn("%s (%u) reached: refused so far: %llu", limit, most, (unsigned long long)count);
}

/* Is there a place for one more? Of those who ask at once, on whatever thread, no more are told so
 * than there are places: each takes one while it asks. */
static bool take_place(rl_server *s, unsigned most)
{
    _Atomic unsigned *all = s->conns->tally.everywhere;

    if (!most || atomic_fetch_add(all, 1) < most)
        return true;
    atomic_fetch_sub(all, 1);
    return false;
}

/* The connection counts by itself now, or there is none. */
static void return_place(rl_server *s, unsigned most)
{
    if (most)
        atomic_fetch_sub(s->conns->tally.everywhere, 1);
}

rl_conn *rl_server_admit(rl_server *s, int fd, rl_tls *keys, const rl_proxy *who)
{
    unsigned most = s->limits.max_connections_per_address;
    rl_counters *n = &s->loop->counters;

    if (most) {
        if (!rl_peers_enter(fd, who ? &who->source : NULL, most)) {
            close(fd);
            n->refused_per_address++;
            tell_refusal(s, "max_connections_per_address", most, n->refused_per_address);
            return NULL;
        }
        s->conns->counts_peers = true;
    }
    rl_conn *c = rl_http_conn_open(s, fd, keys);
    if (c && who)
        rl_conn_introduce(c, who);
    return c;
}

void rl_server_accept(rl_server *s, int fd, const rl_bound *from)
{
    unsigned most = s->limits.max_connections;
    rl_counters *n = &s->loop->counters;

    if (!take_place(s, most)) {
        close(fd);
        n->refused_max_connections++;
        tell_refusal(s, "max_connections", most, n->refused_max_connections);
        return;
    }
    if (RL_UNLIKELY(from->proxied))
        rl_proxied_await(s, fd, from->keys);
    else
        rl_server_admit(s, fd, from->keys, NULL);
    return_place(s, most);
}

void rl_server_drain(rl_server *s)
{
    s->draining = true;
    rl_proxied_drop_all(s);
    RL_LIST_EACH (it, &s->https)
        rl_http_conn_drain(it);
}

void rl_server_abort(rl_server *s)
{
    RL_LIST_EACH (it, &s->https)
        rl_http_conn_cut(it);
}

rl_str rl_server_date(rl_server *s)
{
    time_t now = time(NULL);

    if (now != s->date_at) {
        s->date_at = now;
        rl_buf_clear(&s->date);
        rl_http_write_date(&s->date, now);
    }
    return rl_buf_str(&s->date);
}
