/* ws_conn.c - see the header.
 *
 *   OPEN --our close frame--> CLOSING --the peer's, or the deadline--> OVER
 *     '-------the peer's close frame, answered, or an error------------^
 *
 * In CLOSING whatever else the peer still says is read and dropped. In OVER the owner has
 * been told; the connection sends what is left and ends. */
#include "net/ws_conn.h"

#include "base/pack.h"
#include "io/peers.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

enum ws_state { OPEN, CLOSING, OVER };

struct rl_ws_conn {
    rl_conn *conn;
    rl_server *server;
    const rl_ws_conn_events *events;
    void *owner; /* NULL once on_closed was called */
    rl_deflate *deflate;
    rl_ws *parser;      /* of a message or a frame that has come in part; NULL: of none */
    rl_timeout timer;   /* of its set when OPEN, on server.closings when CLOSING */
    uint64_t last_seen; /* ms, loop's clock */
    uint32_t messages_in, messages_out;
    uint16_t code;     /* what we closed with */
    uint16_t limits;   /* the number of its set */
    uint16_t controls; /* frames since the last beat */
    uint8_t state;     /* enum ws_state */
    bool paused;
    bool pinged;        /* a ping is out and nothing came since */
    bool used;          /* a message went either way since the last beat */
    bool limited;       /* the owner was told of a limit */
    uint32_t born;      /* s, loop's clock */
    uint32_t last_used; /* the same, as far as beats tell */
};

const rl_slab rl_ws_conn_memory = RL_SLAB_OF(rl_ws_conn);

static const rl_limit_set *set_of(const rl_ws_conn *ws)
{
    return ws->server->sets[ws->limits];
}

static uint32_t now_s(const rl_ws_conn *ws)
{
    return (uint32_t)(rl_loop_now(ws->server->loop) / 1000);
}

static void send_control(rl_ws_conn *ws, rl_ws_opcode opcode, rl_str payload)
{
    char head[RL_WS_HEAD_MAX];
    size_t n = rl_ws_head(head, opcode, payload.n);

    rl_conn_write2(ws->conn, head, n, payload.p, payload.n);
}

static void send_close(rl_ws_conn *ws, uint16_t code, rl_str reason)
{
    char payload[RL_WS_CONTROL_MAX];
    size_t n = rl_ws_close_payload(payload, code, reason);

    send_control(ws, RL_WS_OP_CLOSE, (rl_str){payload, n});
}

static void tell_access(rl_ws_conn *ws, void *owner, uint16_t code)
{
    rl_server *s = ws->server;

    if (!s->events->on_access)
        return;
    rl_access access = {
        .status = code,
        .bytes_in = ws->conn->received,
        .bytes_out = ws->conn->delivered + rl_conn_pending(ws->conn),
        .messages_in = ws->messages_in,
        .messages_out = ws->messages_out,
        .ms = (double)(now_s(ws) - ws->born) * 1000,
    };
    s->events->on_access(s, owner, &access);
}

/* The owner hears of it once, whatever comes first. */
static void tell_closed(rl_ws_conn *ws, uint16_t code, rl_str reason)
{
    void *owner = ws->owner;

    rl_timeout_stop(&ws->timer);
    ws->state = OVER;
    ws->owner = NULL;
    if (!owner)
        return;
    tell_access(ws, owner, code);
    ws->events->on_closed(owner, code, reason);
}

/* A close frame is a peer's last word; not all keep to it. */
static void on_peer_close(rl_ws_conn *ws, const rl_ws_event *ev, bool last)
{
    bool ours_first = ws->state == CLOSING;

    if (!ours_first)
        send_close(ws, ev->code, (rl_str){0});
    if (last)
        rl_conn_part(ws->conn);
    else
        rl_conn_finish(ws->conn);
    tell_closed(ws, ours_first ? ws->code : ev->code, ev->data);
}

static void on_peer_error(rl_ws_conn *ws, const rl_ws_event *ev)
{
    rl_counters *n = &ws->server->loop->counters;

    if (ev->code == RL_WS_TOO_BIG)
        n->ws_too_big++;
    else if (ev->code == RL_WS_BAD_DATA)
        n->ws_bad_data++;
    else
        n->ws_protocol_errors++;
    if (ws->state == OPEN)
        send_close(ws, ev->code, ev->data);
    rl_conn_finish(ws->conn);
    tell_closed(ws, ev->code, ev->data);
}

/* The owner closes, since it must know that nothing can be sent any more. */
static void tell_limit(rl_ws_conn *ws, uint64_t *counter, uint16_t code, const char *why)
{
    if (ws->state != OPEN || ws->limited)
        return;
    ws->limited = true;
    ++*counter;
    ws->events->on_limit(ws->owner, code, rl_str_of(why));
}

/* Pings and pongs cost their sender next to nothing. */
static bool is_flood(rl_ws_conn *ws)
{
    uint64_t most = set_of(ws)->of.max_control_frames;

    if (ws->controls < UINT16_MAX)
        ws->controls++;
    if (most == 0 || ws->controls <= most)
        return false;
    tell_limit(ws, &ws->server->loop->counters.ws_floods, 1008, "too many control frames");
    return true;
}

static void on_ping(rl_ws_conn *ws, rl_str data)
{
    if (ws->state != OPEN || is_flood(ws))
        return;
    if (rl_ws_conn_is_full(ws))
        ws->server->loop->counters.pongs_dropped++;
    else
        send_control(ws, RL_WS_OP_PONG, data);
}

/* What came whole has left nothing behind: the next message has a fresh parser. */
static void put_away(rl_ws_conn *ws, const rl_ws *parser)
{
    if (!rl_ws_is_idle(parser)) {
        if (!ws->parser)
            ws->parser = rl_malloc(sizeof(*parser));
        if (ws->parser != parser)
            *ws->parser = *parser;
    } else if (RL_UNLIKELY(ws->parser != NULL)) {
        rl_free(ws->parser);
        ws->parser = NULL;
    }
}

/* What was read, while it is told of. */
typedef struct rl_ws_reading {
    rl_ws_conn *ws;
    rl_ws *parser;
    char *p;
    size_t n, used;
    struct rl_ws_reading *around;
} rl_ws_reading;

static void count_received(rl_ws_conn *ws)
{
    ws->messages_in++;
    ws->server->messages_in++;
}

bool rl_ws_conn_next(rl_ws_conn *ws, bool *text, rl_str *data)
{
    rl_ws_reading *r = ws->server->reading;

    if (!r || r->ws != ws || ws->state != OPEN || ws->paused || !rl_ws_is_idle(r->parser))
        return false;
    size_t n = rl_ws_whole(&set_of(ws)->ws_rules, r->p + r->used, r->n - r->used, text, data);
    if (n == 0)
        return false;
    r->used += n;
    ws->used = true;
    count_received(ws);
    return true;
}

/* What comes next, when it is not simply a message. False: nothing does. */
static bool take_event(rl_ws_conn *ws, rl_ws_reading *r)
{
    rl_ws_event ev;

    r->used += rl_ws_feed(r->parser, &set_of(ws)->ws_rules, r->p + r->used, r->n - r->used, &ev);
    switch (ev.type) {
    case RL_WS_NONE:
        return false;
    case RL_WS_PONG:
        is_flood(ws);
        break;
    case RL_WS_TEXT:
    case RL_WS_BINARY:
        ws->used = true;
        if (ws->state != OPEN)
            break;
        count_received(ws);
        ws->events->on_message(ws->owner, ev.type == RL_WS_TEXT, ev.data);
        break;
    case RL_WS_PING:
        on_ping(ws, ev.data);
        break;
    case RL_WS_CLOSE:
        on_peer_close(ws, &ev, r->used == r->n);
        r->used = r->n;
        return false;
    case RL_WS_ERROR:
        on_peer_error(ws, &ev);
        r->used = r->n;
        return false;
    }
    return true;
}

static size_t on_data(void *owner, char *p, size_t n)
{
    rl_ws_conn *ws = owner;
    rl_server *s = ws->server;
    rl_ws fresh = {.deflate = ws->deflate}, *parser = ws->parser ? ws->parser : &fresh;
    rl_ws_reading r = {.ws = ws, .parser = parser, .p = p, .n = n, .around = s->reading};
    bool text, more = true;
    rl_str data;

    ws->last_seen = rl_loop_now(s->loop);
    ws->pinged = false;
    if (ws->conn->hung_up) /* what came before the end is all there will be: take it */
        ws->paused = false;
    s->reading = &r;
    do {
        if (rl_ws_conn_next(ws, &text, &data))
            ws->events->on_message(ws->owner, text, data);
        else
            more = take_event(ws, &r);
    } while (more && !ws->paused && !(r.used == n && rl_ws_is_idle(parser)));
    s->reading = r.around;
    put_away(ws, parser);
    return r.used;
}

static void on_drain(void *owner)
{
    rl_ws_conn *ws = owner;

    if (ws->owner)
        ws->events->on_drain(ws->owner);
}

static void on_closed(void *owner, const rl_err *why)
{
    rl_ws_conn *ws = owner;
    bool clean = ws->state == CLOSING && !why;

    tell_closed(ws, clean ? ws->code : 1006, why ? rl_str_of(why->msg) : (rl_str){"", 0});
    if (ws->parser)
        rl_buf_fini(&ws->parser->part);
    rl_free(ws->parser);
    rl_deflate_free(ws->deflate);
    rl_server_release(ws->server, ws->limits);
    rl_slab_give(&ws->server->ws_memory, ws);
}

static const rl_conn_events conn_events = {
    .on_data = on_data,
    .on_drain = on_drain,
    .on_closed = on_closed,
};

static rl_ws_conn *new_ws(rl_server *s, rl_deflate *deflate, uint16_t limits,
                          const rl_ws_conn_events *events, void *owner)
{
    rl_ws_conn *ws = rl_slab_zeroed(&s->ws_memory);

    ws->server = s;
    ws->events = events;
    ws->owner = owner;
    ws->deflate = deflate;
    rl_server_hold(s, ws->limits = limits);
    ws->last_seen = rl_loop_now(s->loop);
    ws->born = ws->last_used = now_s(ws);
    rl_timeout_init(&ws->timer);
    rl_timeout_start(set_of(ws)->beats, &ws->timer);
    return ws;
}

rl_ws_conn *rl_ws_conn_open(rl_server *s, rl_conn *conn, rl_deflate *deflate, uint16_t limits,
                            const rl_ws_conn_events *events, void *owner)
{
    rl_ws_conn *ws = new_ws(s, deflate, limits, events, owner);

    ws->conn = conn;
    rl_conn_own(conn, &conn_events, ws);
    rl_conn_resume(conn);
    return ws;
}

rl_conn *rl_ws_conn_stream(const rl_ws_conn *ws)
{
    return ws->conn;
}

static void count_sent(rl_ws_conn *ws)
{
    ws->messages_out++;
    ws->server->messages_out++;
}

void rl_ws_conn_send(rl_ws_conn *ws, bool text, rl_str data)
{
    rl_ws_opcode opcode = text ? RL_WS_OP_TEXT : RL_WS_OP_BINARY;
    char head[RL_WS_HEAD_MAX];
    size_t n;

    if (ws->state != OPEN)
        return;
    ws->used = true;
    count_sent(ws);
    if (ws->deflate && rl_deflate_message(ws->deflate, data, &data))
        n = rl_ws_head_deflated(head, opcode, data.n);
    else
        n = rl_ws_head(head, opcode, data.n);
    rl_conn_write2(ws->conn, head, n, data.p, data.n);
}

bool rl_ws_conn_append(rl_ws_conn *ws, bool text, rl_str data)
{
    char *to;

    if (ws->state != OPEN || ws->deflate || !(to = rl_conn_room(ws->conn, RL_WS_HEAD_MAX + data.n)))
        return false;
    size_t head = rl_ws_head(to, text ? RL_WS_OP_TEXT : RL_WS_OP_BINARY, data.n);
    memcpy(to + head, data.p, data.n);
    rl_conn_filled(ws->conn, head + data.n);
    ws->used = true;
    count_sent(ws);
    return true;
}

static rl_str payload_of(rl_str frame)
{
    uint8_t length = (uint8_t)frame.p[1];
    size_t head = length == 127 ? 10 : length == 126 ? 4 : 2;

    return (rl_str){frame.p + head, frame.n - head};
}

uint32_t rl_ws_conn_send_frame(rl_ws_conn *ws, rl_shared *frame)
{
    rl_deflate *deflate = ws->deflate;
    uint32_t key;

    if (ws->state != OPEN)
        return 0;
    if (deflate && (key = rl_deflate_key(deflate, payload_of(rl_shared_str(frame)).n)))
        return key;
    ws->used = true;
    count_sent(ws);
    rl_conn_write_shared(ws->conn, frame);
    return 0;
}

rl_shared *rl_ws_conn_deflate_frame(rl_ws_conn *ws, uint32_t key, rl_str frame)
{
    char head[RL_WS_HEAD_MAX];
    rl_str payload;

    if (!rl_deflate_for_all(&ws->server->deflate, key, payload_of(frame), &payload))
        return NULL;
    size_t n = rl_ws_head_deflated(head, (rl_ws_opcode)(frame.p[0] & 0x0f), payload.n);
    rl_shared *out = rl_shared_new(n + payload.n);
    memcpy(out->data, head, n);
    memcpy(out->data + n, payload.p, payload.n);
    return out;
}

void rl_ws_conn_send_shared(rl_ws_conn *ws, bool deflated, rl_shared *frame)
{
    if (ws->state != OPEN)
        return;
    ws->used = true;
    if (deflated)
        rl_deflate_forget(ws->deflate);
    count_sent(ws);
    rl_conn_write_shared(ws->conn, frame);
}

bool rl_ws_conn_is_over(rl_ws_conn *ws)
{
    return ws->state == OPEN && rl_conn_is_over(ws->conn);
}

bool rl_ws_conn_is_full(const rl_ws_conn *ws)
{
    return rl_conn_pending(ws->conn) > set_of(ws)->of.max_unsent;
}

size_t rl_ws_conn_unsent(const rl_ws_conn *ws)
{
    return rl_conn_pending(ws->conn);
}

void rl_ws_conn_pause(rl_ws_conn *ws)
{
    if (ws->conn->hung_up)
        return;
    ws->paused = true;
    rl_conn_pause(ws->conn);
}

void rl_ws_conn_resume(rl_ws_conn *ws)
{
    if (!ws->paused)
        return;
    ws->paused = false;
    rl_conn_resume(ws->conn);
}

void rl_ws_conn_close(rl_ws_conn *ws, uint16_t code, rl_str reason)
{
    if (ws->state != OPEN)
        return;
    ws->state = CLOSING;
    ws->code = code;
    send_close(ws, code, reason);
    rl_timeout_start(&ws->server->closings, &ws->timer);
    rl_ws_conn_resume(ws); /* the peer's close frame may stand behind what was not read */
}

void rl_ws_conn_abort(rl_ws_conn *ws)
{
    rl_conn_close(ws->conn);
}

void rl_ws_on_close_due(rl_timeout *t)
{
    rl_ws_conn *ws = RL_CONTAINER_OF(t, rl_ws_conn, timer);

    ws->server->loop->counters.ws_close_timeouts++;
    rl_conn_reset(ws->conn, 0);
}

/* A tenth more or less than the limit, another for each: they were born together, perhaps. */
static bool is_aged(const rl_ws_conn *ws, uint64_t limit)
{
    uint64_t age = (uint64_t)(now_s(ws) - ws->born) * 1000;
    uint64_t spread = ((uintptr_t)ws >> 4) * 2654435761u % 1024;

    return limit && age >= limit * 9 / 10 + limit / 5 * spread / 1024;
}

static bool is_idle(rl_ws_conn *ws, uint64_t limit)
{
    if (ws->used)
        ws->last_used = now_s(ws);
    ws->used = false;
    return limit && (uint64_t)(now_s(ws) - ws->last_used) * 1000 >= limit;
}

void rl_ws_on_beat_due(rl_timeout *t)
{
    rl_ws_conn *ws = RL_CONTAINER_OF(t, rl_ws_conn, timer);
    const rl_limit_set *set = set_of(ws);
    rl_counters *n = &ws->server->loop->counters;
    uint64_t silent = rl_loop_now(ws->server->loop) - ws->last_seen;

    ws->controls = 0;
    rl_timeout_start(set->beats, t);
    if (is_idle(ws, set->of.idle_timeout)) {
        tell_limit(ws, &n->ws_idle_timeouts, 1001, "idle");
    } else if (is_aged(ws, set->of.max_connection_age)) {
        tell_limit(ws, &n->aged, 1001, "connect again");
    } else if (set->of.ping_interval && silent >= set->of.ping_interval) {
        ws->pinged = true;
        send_control(ws, RL_WS_OP_PING, (rl_str){"", 0});
        rl_timeout_start(set->pongs, t);
    }
}

/* Was the ping answered? One that we do not read from cannot be asked. */
void rl_ws_on_pong_due(rl_timeout *t)
{
    rl_ws_conn *ws = RL_CONTAINER_OF(t, rl_ws_conn, timer);

    if (!ws->pinged || ws->paused) {
        rl_timeout_start(set_of(ws)->beats, t);
        return;
    }
    ws->server->loop->counters.ws_pong_timeouts++;
    rl_conn_reset(ws->conn, 0);
}

/* From process to process */

void rl_ws_conn_limit(rl_ws_conn *ws, uint16_t limits)
{
    rl_server_exchange(ws->server, &ws->limits, limits);
    if (ws->state == OPEN)
        rl_timeout_start(set_of(ws)->beats, &ws->timer);
}

bool rl_ws_conn_is_whole(const rl_ws_conn *ws)
{
    const rl_conn *c = ws->conn;

    return ws->state == OPEN && !ws->parser && !ws->limited && !c->closed && !c->eof &&
           !c->hung_up && !c->introduced && !rl_conn_is_tls(c) && rl_conn_pending(c) == 0;
}

int rl_ws_conn_leave(rl_ws_conn *ws, rl_buf *out)
{
    rl_pack_u32(out, now_s(ws) - ws->born);
    rl_pack_u32(out, ws->deflate != NULL);
    if (ws->deflate)
        rl_deflate_pack(ws->deflate, out);
    int fd = rl_conn_leave(ws->conn, out);
    rl_timeout_stop(&ws->timer);
    ws->state = OVER;
    ws->owner = NULL;
    return fd;
}

rl_ws_conn *rl_ws_conn_arrive(rl_server *s, int fd, rl_str *in, uint16_t limits,
                              const rl_ws_conn_events *events, void *owner)
{
    uint32_t age, compressed;
    rl_deflate *deflate = NULL;

    if (!rl_unpack_u32(in, &age) || !rl_unpack_u32(in, &compressed) ||
        (compressed && !(deflate = rl_deflate_unpack(&s->deflate, in)))) {
        close(fd);
        return NULL;
    }
    if (s->limits.max_connections_per_address) {
        rl_peers_enter(fd, NULL, UINT_MAX); /* it was let in already */
        s->conns->counts_peers = true;
    }
    rl_conn *conn = rl_conn_arrive(s->conns, fd, in, &conn_events, NULL);
    if (!conn) {
        rl_deflate_free(deflate);
        return NULL;
    }
    rl_ws_conn *ws = new_ws(s, deflate, limits, events, owner);
    ws->conn = conn;
    ws->born -= age;
    ws->paused = true;
    rl_conn_own(conn, &conn_events, ws);
    return ws;
}
