/* redis.c - commands in a line, the oldest first; each reply belongs to the first of them.
 *
 * On a connection that has subscribed, messages come between the replies: what begins with
 * "message" or "pmessage" is one, whatever else comes is the first command's.
 *
 * A deadline that passes without a word of the server since the command was asked means that there
 * is no server any more: the connection is given up. If it has spoken meanwhile, it is slow, and
 * the command alone fails; unless that was one that waits on the server, behind which all others
 * would stand. */
#include "layer/redis.h"

#include <string.h>

struct rl_redis_command {
    rl_redis *redis;
    rl_list link;
    rl_redis_answer_fn *fn; /* NULL: nobody waits any more */
    void *arg;
    uint64_t asked, due; /* ms on the loop's clock */
    uint64_t heard;      /* how often the server had been heard by then */
    uint64_t at;         /* bytes that were written before it */
    unsigned wanted, got;
    bool blocks, subscribes;
    rl_resp *replies[]; /* those that came */
};

struct rl_redis {
    rl_loop *loop;
    rl_client *client; /* NULL: its connection is over */
    const rl_redis_events *events;
    void *owner;
    rl_resp_reader *reader;
    rl_list pending;  /* commands, the oldest first */
    rl_list messages; /* the oldest first */
    unsigned room;    /* for so many messages */
    size_t held;      /* bytes of them */
    uint64_t missed;  /* since the last one that found room */
    uint64_t written;
    uint64_t gone;     /* of that, as of the connection's end */
    uint64_t heard;    /* how often the server said something */
    uint64_t heard_at; /* ms: when it last did */
    uint64_t due;      /* ms: when the timer goes off; UINT64_MAX: it does not */
    uv_timer_t timer;
    bool open, closing, subscribed;
    rl_err why; /* once it is to end */
    rl_redis_figures figures;
};

/* The end */

/* `why` is kept if it is the first reason. */
static void give_up(rl_redis *r, const rl_err *why)
{
    if (r->closing)
        return;
    r->closing = true;
    r->why = *why;
    rl_client_close(r->client);
}

void rl_redis_close(rl_redis *r)
{
    static const rl_err closed = {.code = RL_EREDIS_DOWN, .msg = "Redis: the link was closed"};

    give_up(r, &closed);
}

/* Answers */

static void free_command(rl_redis_command *c)
{
    for (unsigned i = 0; i < c->got; i++)
        rl_resp_free(c->replies[i]);
    rl_list_remove(&c->link);
    rl_free(c);
}

/* It is off the pipeline. Its replies become the callee's. */
static void answer(rl_redis_command *c, const rl_err *err)
{
    rl_redis_answer_fn *fn = c->fn;

    c->redis->figures.pending--;
    if (fn && !err) {
        c->got = 0;
        fn(c->arg, c->replies, NULL);
    } else if (fn) {
        fn(c->arg, NULL, err);
    } else if (!err) {
        c->redis->figures.abandoned += c->wanted;
    }
    free_command(c);
}

/* As far as anybody can tell. */
static rl_err verdict(const rl_redis_command *c, const char *why)
{
    bool left = c->redis->gone > c->at;
    rl_err err;

    rl_err_set(&err, left ? RL_EREDIS_DOUBT : RL_EREDIS_DOWN, "%s (the command %s)", why,
               left ? "may have run" : "was not sent");
    return err;
}

/* In one go, so that nobody asks for something in between. */
static void free_redis(uv_handle_t *timer)
{
    rl_redis *r = RL_CONTAINER_OF(timer, rl_redis, timer);
    rl_redis_message *message;
    rl_list *it;

    while ((it = rl_list_pop(&r->pending))) {
        rl_redis_command *c = RL_LIST_ENTRY(it, rl_redis_command, link);
        rl_err err = verdict(c, r->why.msg);
        answer(c, &err);
    }
    r->events->on_closed(r->owner, &r->why);
    while ((message = rl_redis_next_message(r)))
        rl_redis_message_free(message);
    rl_resp_reader_free(r->reader);
    rl_free(r);
}

static void on_client_closed(void *owner, const rl_err *why)
{
    rl_redis *r = owner;

    r->gone = rl_client_gone(r->client);
    r->client = NULL; /* it is freed now, we at the end of the turn */
    if (!r->closing)
        rl_err_set(&r->why, RL_EREDIS_DOWN, "Redis: %s", why->msg);
    r->closing = true;
    uv_close((uv_handle_t *)&r->timer, free_redis);
}

/* Deadlines */

static void on_timer(uv_timer_t *timer);

static void wake_at(rl_redis *r, uint64_t due)
{
    uint64_t now = rl_loop_now(r->loop);

    if (due >= r->due)
        return;
    r->due = due;
    uv_timer_start(&r->timer, on_timer, due > now ? due - now : 0, 0);
}

static void on_timer(uv_timer_t *timer)
{
    rl_redis *r = RL_CONTAINER_OF(timer, rl_redis, timer);
    uint64_t now = rl_loop_now(r->loop), next = UINT64_MAX;

    r->due = UINT64_MAX;
    if (r->closing)
        return;
    RL_LIST_EACH (it, &r->pending) {
        rl_redis_command *c = RL_LIST_ENTRY(it, rl_redis_command, link);
        if (!c->fn)
            continue;
        if (c->due > now) {
            next = c->due < next ? c->due : next;
            continue;
        }
        double seconds = (double)(c->due - c->asked) / 1000;
        rl_err err;
        if (r->heard == c->heard || c->blocks) {
            rl_err_set(&err, RL_EREDIS_DOWN, "Redis: no %s from the server within %g s",
                       c->blocks ? "reply" : "word", seconds);
            give_up(r, &err);
            return;
        }
        rl_err_set(&err, RL_EREDIS_DOUBT, "Redis: no reply within %g s (the command may have run)",
                   seconds);
        rl_redis_answer_fn *fn = c->fn;
        c->fn = NULL;
        fn(c->arg, NULL, &err);
    }
    if (next != UINT64_MAX)
        wake_at(r, next);
}

/* What the server says */

static bool is_message(const rl_resp *reply)
{
    if (reply->type != RL_RESP_ARRAY)
        return false;
    size_t n = reply->n;
    if (!(n == 3 && rl_resp_is(reply->items[0], "message")) &&
        !(n == 4 && rl_resp_is(reply->items[0], "pmessage")))
        return false;
    for (size_t i = 1; i < n; i++)
        if (reply->items[i]->type != RL_RESP_STRING)
            return false;
    return true;
}

static size_t weight(const rl_resp *message)
{
    return message->items[message->n - 1]->text.n;
}

static void take_message(rl_redis *r, rl_resp *reply)
{
    size_t bytes = weight(reply);

    if (r->figures.queued >= r->room || r->held + bytes > RL_REDIS_MAX_QUEUED) {
        r->figures.dropped++;
        r->missed++;
        rl_resp_free(reply);
        return;
    }
    rl_redis_message *m = rl_malloc(sizeof(*m));
    *m = (rl_redis_message){.reply = reply, .missed = r->missed};
    r->missed = 0;
    r->held += bytes;
    rl_list_init(&m->link);
    rl_list_push(&r->messages, &m->link);
    if (r->figures.queued++ == 0)
        r->events->on_message(r->owner);
}

static void protocol_error(rl_redis *r, const char *what)
{
    rl_err err;

    rl_err_set(&err, RL_EREDIS_DOWN, "Redis: %s", what);
    give_up(r, &err);
}

static void take_reply(rl_redis *r, rl_resp *reply)
{
    rl_list *first = rl_list_first(&r->pending);

    if (!first) {
        rl_resp_free(reply);
        protocol_error(r, "the server said something that nobody had asked for");
        return;
    }
    rl_redis_command *c = RL_LIST_ENTRY(first, rl_redis_command, link);
    c->replies[c->got++] = reply;
    bool refused = c->subscribes && reply->type == RL_RESP_ERROR; /* once, for all its names */
    if (c->got < c->wanted && !refused)
        return;
    c->wanted = c->got;
    rl_list_remove(&c->link);
    answer(c, NULL);
}

static void on_client_data(void *owner, const char *p, size_t n)
{
    rl_redis *r = owner;
    rl_resp *reply;
    rl_err err;
    int rc;

    r->heard++;
    r->heard_at = rl_loop_now(r->loop);
    if ((rc = rl_resp_feed(r->reader, p, n, &err)) == 0)
        while (!r->closing && (rc = rl_resp_next(r->reader, &reply, &err)) == 1) {
            if (r->subscribed && is_message(reply))
                take_message(r, reply);
            else
                take_reply(r, reply);
        }
    if (rc < 0 && !r->closing)
        protocol_error(r, err.msg);
}

static void on_client_open(void *owner)
{
    rl_redis *r = owner;

    if (r->closing)
        return;
    r->open = true;
    r->heard_at = rl_loop_now(r->loop);
    r->events->on_open(r->owner);
}

static const rl_client_events client_events = {
    .on_open = on_client_open,
    .on_data = on_client_data,
    .on_closed = on_client_closed,
};

rl_redis *rl_redis_open(rl_loop *loop, const rl_redis_opts *opts, const rl_redis_events *events,
                        void *owner)
{
    rl_redis *r = rl_calloc(1, sizeof(*r));

    *r = (rl_redis){.loop = loop,
                    .events = events,
                    .owner = owner,
                    .room = opts->queue,
                    .due = UINT64_MAX,
                    .reader = rl_resp_reader_new()};
    rl_list_init(&r->pending);
    rl_list_init(&r->messages);
    uv_timer_init(&loop->uv, &r->timer);
    r->client = rl_client_open(loop, &opts->client, &client_events, r);
    return r;
}

/* What we say */

rl_redis_command *rl_redis_ask(rl_redis *r, const rl_redis_request *request, rl_redis_answer_fn *fn,
                               void *arg)
{
    rl_redis_command *c = rl_calloc(1, sizeof(*c) + request->replies * sizeof(*c->replies));

    RL_CHECK(r->open && request->replies > 0);
    c->redis = r;
    c->fn = fn;
    c->arg = arg;
    c->wanted = request->replies;
    c->blocks = request->blocks;
    c->subscribes = request->subscribes;
    uv_update_time(
        &r->loop->uv); /* a script may have run for long: that is not the server's fault */
    c->asked = rl_loop_now(r->loop);
    c->heard = r->heard;
    c->due = c->asked + request->patience;
    c->at = r->written;
    rl_list_init(&c->link);
    rl_list_push(&r->pending, &c->link);
    r->figures.pending++;
    r->subscribed |= request->subscribes;
    if (r->closing)
        return c; /* it hears so from the loop */
    rl_client_write(r->client, request->bytes.p, request->bytes.n,
                    request->blocks ? RL_PHASE_WRITE : RL_PHASE_ASK);
    r->written += request->bytes.n;
    wake_at(r, c->due);
    return c;
}

bool rl_redis_is_full(const rl_redis *r)
{
    return r->client && rl_client_pending(r->client) > RL_REDIS_MAX_UNSENT;
}

void rl_redis_cancel(rl_redis_command *c)
{
    static const rl_err given_up = {
        .code = RL_EREDIS_DOWN,
        .detail = "given up", /* no failure */
        .msg =
            "Redis: closed, since nobody waits any more for what the server was asked to wait for",
    };

    c->fn = NULL;
    if (c->blocks)
        give_up(c->redis, &given_up);
}

rl_redis_message *rl_redis_next_message(rl_redis *r)
{
    rl_list *it = rl_list_pop(&r->messages);

    if (!it)
        return NULL;
    rl_redis_message *m = RL_LIST_ENTRY(it, rl_redis_message, link);
    r->held -= weight(m->reply);
    r->figures.queued--;
    return m;
}

void rl_redis_message_free(rl_redis_message *m)
{
    rl_resp_free(m->reply);
    rl_free(m);
}

rl_redis_figures rl_redis_look(const rl_redis *r)
{
    rl_redis_figures f = r->figures;
    uint64_t now = rl_loop_now(r->loop);

    f.silent = now - r->heard_at;
    return f;
}
