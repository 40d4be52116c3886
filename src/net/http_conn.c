/* http_conn.c - requests in, one at a time, and the way on to a WebSocket. Answers go out in
 * http_answer.c.
 *
 *   IDLE --first byte--> HEAD --> HANDLED --the answer is complete--> IDLE, or closed
 *                          '--malformed: answered here, closed
 *
 * While a request is HANDLED its body is parsed as it comes, up to a few tens of kilobytes
 * ahead of whoever reads it; what stands behind the body waits unread in the connection. An
 * IDLE connection has no parser. */
#include "net/http_state.h"

#include "base/clock.h"
#include "proto/http_write.h"
#include "proto/ws_extensions.h"
#include "proto/ws_shake.h"

enum {
    BODY_AHEAD = 64 * 1024,   /* bytes of a body that may wait to be taken */
    SKIP_AT_MOST = 64 * 1024, /* of a body that nobody wants, to save the connection */
};

const rl_slab rl_http_conn_memory = RL_SLAB_OF(rl_http_conn);

static bool is_aged(const rl_http_conn *hc)
{
    uint64_t limit = hc->server->sets[0]->of.max_connection_age;

    if (!limit || rl_loop_now(hc->server->loop) - (uint64_t)hc->born * 1000 < limit)
        return false;
    hc->server->loop->counters.aged++;
    return true;
}

void rl_http_next_request(rl_http_conn *hc)
{
    rl_http_free(hc->parser);
    hc->parser = NULL;
    rl_buf_fini(&hc->body);
    hc->state = IDLE;
    hc->skipping = false;
    if (!hc->keep || hc->server->draining || (hc->conn->eof && hc->conn->in.len == 0)) {
        rl_conn_finish(hc->conn);
        return;
    }
    rl_timeout_start(&hc->server->keepalives, &hc->timer);
    rl_conn_resume(hc->conn);
}

void rl_http_forget_owner(rl_http_conn *hc)
{
    void *owner = hc->owner;

    hc->owner = NULL;
    if (owner)
        hc->events->on_gone(owner);
}

static void tell_gone(rl_http_conn *hc)
{
    if (hc->owner)
        rl_http_tell_access(hc, hc->owner, hc->started ? hc->status : 499, true);
    rl_http_forget_owner(hc);
}

static void begin_head(rl_http_conn *hc)
{
    hc->parser = rl_http_new(&hc->server->http_limits);
    rl_server_exchange(hc->server, &hc->limits, 0);
    hc->state = HEAD;
    hc->body_done = hc->started = hc->chunked = hc->no_body = hc->continued = false;
    hc->stays = false;
    hc->skipped = 0;
    hc->compression = (rl_deflate_settings){.threshold = 0};
    hc->began = 0;
    hc->before = hc->conn->delivered + rl_conn_pending(hc->conn);
    rl_timeout_start(&hc->server->requests, &hc->timer);
}

/* An empty body ends with its head, but llhttp says so only when asked again. */
static void settle_empty_body(rl_http_conn *hc)
{
    rl_http_event ev;

    rl_http_feed(hc->parser, "", 0, &ev);
    if (ev.type == RL_HTTP_DONE)
        hc->body_done = true;
}

static void begin_request(rl_http_conn *hc)
{
    const rl_http_head *head = rl_http_head_of(hc->parser);

    rl_timeout_stop(&hc->timer);
    if (!head->upgrade && !head->chunked && head->content_length == 0)
        settle_empty_body(hc);
    if (hc->conn->eof)
        rl_http_expect_reader(hc);
    if (!hc->body_done && !head->upgrade)
        rl_http_expect_body(hc);
    hc->began = rl_clock_ns();
    hc->state = HANDLED;
    hc->keep = head->keep_alive && !head->upgrade && !is_aged(hc);
    hc->no_body = rl_str_eq(rl_http_method(head), RL_STR("HEAD"));
    hc->server->events->on_request(hc->server, hc);
}

/* A piece of the request's body: kept for its owner, or skipped. */
static void take_piece(rl_http_conn *hc, rl_str piece)
{
    if (!hc->skipping) {
        rl_buf_add_str(&hc->body, piece);
        if (hc->body.len > BODY_AHEAD)
            rl_conn_pause(hc->conn);
        if (hc->owner)
            hc->events->on_body(hc->owner);
        return;
    }
    hc->skipped += piece.n;
    if (hc->skipped > SKIP_AT_MOST)
        rl_conn_finish(hc->conn);
}

static void body_ended(rl_http_conn *hc)
{
    hc->body_done = true;
    if (!hc->conn->eof)
        rl_timeout_stop(&hc->timer);
    if (hc->skipping) {
        rl_http_next_request(hc);
        return;
    }
    /* What comes next is another request, or the peer's leaving. */
    rl_conn_pause(hc->conn);
    if (hc->owner)
        hc->events->on_body(hc->owner);
}

static void count_error(rl_http_conn *hc, int status)
{
    rl_counters *n = &hc->server->loop->counters;

    if (status == 413)
        n->too_long_bodies++;
    else if (status == 414)
        n->too_long_targets++;
    else if (status == 431)
        n->too_long_heads++;
    else
        n->bad_requests++;
}

static void on_error(rl_http_conn *hc, const rl_http_event *ev)
{
    count_error(hc, ev->status);
    if (!hc->started) {
        rl_http_answer_error(hc, ev->status, ev->why);
        rl_http_forget_owner(hc);
        return;
    }
    rl_conn_finish(hc->conn);
    tell_gone(hc);
}

static size_t on_data(void *owner, char *p, size_t n)
{
    rl_http_conn *hc = owner;
    rl_conn *conn = hc->conn;
    size_t used = 0;

    while (!conn->closed && !conn->finishing) {
        if (hc->state == IDLE && used == n) {
            if (conn->eof) /* that was the last of what it will ever ask */
                rl_conn_finish(conn);
            return used;
        }
        if (hc->state == IDLE) {
            begin_head(hc);
        } else if (hc->body_done || (hc->state == HANDLED && conn->paused)) {
            if (used < n)
                rl_conn_pause(conn); /* the next request waits its turn */
            return used;
        }

        rl_http_event ev;
        used += rl_http_feed(hc->parser, p + used, n - used, &ev);
        switch (ev.type) {
        case RL_HTTP_NONE:
            return used;
        case RL_HTTP_HEAD:
            begin_request(hc);
            /* An upgrade has taken the connection over, and hc is gone. */
            if (conn->owner != hc)
                return used;
            break;
        case RL_HTTP_BODY:
            take_piece(hc, ev.body);
            break;
        case RL_HTTP_DONE:
            body_ended(hc);
            break;
        case RL_HTTP_ERROR:
            on_error(hc, &ev);
            return n;
        }
    }
    return n;
}

static void on_drain(void *owner)
{
    rl_http_conn *hc = owner;

    if (hc->owner)
        hc->events->on_drain(hc->owner);
}

/* The peer has said all it will. An answer under way may still be read by it. */
static bool on_eof(void *owner)
{
    rl_http_conn *hc = owner;

    /* A WebSocket has no half, and an event stream only one. */
    if (hc->state != HANDLED || !hc->body_done || hc->stays || rl_http_conn_wants_websocket(hc))
        return false;
    rl_http_expect_reader(hc);
    return true;
}

static void free_conn(rl_http_conn *hc)
{
    rl_timeout_stop(&hc->timer);
    rl_list_remove(&hc->link);
    rl_server_release(hc->server, hc->limits);
    rl_http_free(hc->parser);
    rl_buf_fini(&hc->body);
    rl_slab_give(&hc->server->http_memory, hc);
}

static void on_closed(void *owner, const rl_err *why)
{
    rl_http_conn *hc = owner;

    tell_gone(hc);
    free_conn(hc);
}

static const rl_conn_events conn_events = {
    .on_data = on_data,
    .on_drain = on_drain,
    .on_eof = on_eof,
    .on_closed = on_closed,
};

rl_conn *rl_http_conn_open(rl_server *s, int fd, rl_tls *keys)
{
    rl_http_conn *hc = rl_slab_zeroed(&s->http_memory);

    hc->conn = rl_conn_open(s->conns, fd, keys, &conn_events, hc);
    if (!hc->conn) {
        rl_slab_give(&s->http_memory, hc);
        return NULL;
    }
    hc->server = s;
    rl_server_hold(s, hc->limits);
    hc->born = (uint32_t)(rl_loop_now(s->loop) / 1000);
    hc->keep = true;
    rl_list_init(&hc->link);
    rl_list_push(&s->https, &hc->link);
    rl_timeout_init(&hc->timer);
    rl_timeout_start(&s->requests, &hc->timer);
    return hc->conn;
}

void rl_http_conn_own(rl_http_conn *hc, const rl_http_conn_events *events, void *owner)
{
    hc->events = events;
    hc->owner = owner;
}

const rl_http_head *rl_http_conn_head(const rl_http_conn *hc)
{
    return rl_http_head_of(hc->parser);
}

rl_conn *rl_http_conn_stream(const rl_http_conn *hc)
{
    return hc->conn;
}

bool rl_http_conn_take_body(rl_http_conn *hc, rl_buf *out)
{
    const rl_http_head *head = rl_http_head_of(hc->parser);

    if (head->expect_continue && !hc->continued && !hc->body_done && !hc->started) {
        hc->continued = true;
        rl_conn_write(hc->conn, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    }
    bool was_paused = hc->conn->paused;

    rl_buf_add_str(out, rl_buf_str(&hc->body));
    rl_buf_fini(&hc->body);
    if (!hc->body_done)
        rl_conn_resume(hc->conn);
    if (was_paused && !hc->body_done)
        rl_http_expect_body(hc); /* the time that we took is not the peer's */
    return hc->body_done;
}

const rl_http_head *rl_http_conn_trailers(const rl_http_conn *hc)
{
    return hc->body_done ? rl_http_trailers_of(hc->parser) : NULL;
}

bool rl_http_conn_forwarded(const rl_http_conn *hc, rl_forwarded *out)
{
    const rl_networks *trusted = &hc->server->trusted;

    if (rl_networks_empty(trusted))
        return false;
    rl_address peer = rl_conn_peer(hc->conn);
    return rl_networks_has(trusted, &peer) &&
           rl_forwarded_read(out, rl_http_conn_head(hc), trusted);
}

rl_address rl_http_conn_client(const rl_http_conn *hc)
{
    rl_forwarded f;

    return rl_http_conn_forwarded(hc, &f) && f.has_client ? f.client : rl_conn_peer(hc->conn);
}

bool rl_http_conn_limit(rl_http_conn *hc, uint16_t limits)
{
    rl_server_exchange(hc->server, &hc->limits, limits);
    if (!rl_http_limit_body(hc->parser, rl_http_limits_of(hc)->of.max_body))
        return false;
    if (!hc->body_done)
        rl_http_expect_body(hc);
    return true;
}

bool rl_http_conn_is_over(rl_http_conn *hc)
{
    return rl_conn_is_over(hc->conn);
}

int rl_http_conn_wants_websocket(const rl_http_conn *hc)
{
    rl_ws_shake shake;

    switch (rl_ws_shake_check(rl_http_conn_head(hc), &shake)) {
    case RL_WS_SHAKE_NOT:
        return 0;
    case RL_WS_SHAKE_OK:
        return 101;
    case RL_WS_SHAKE_BAD:
        return shake.status;
    }
    return 0;
}

void rl_http_conn_set_compression(rl_http_conn *hc, const rl_deflate_settings *settings)
{
    hc->compression = *settings;
}

rl_ws_conn *rl_http_conn_upgrade(rl_http_conn *hc, rl_str subprotocol, rl_str headers,
                                 uint16_t limits, const rl_ws_conn_events *events, void *owner)
{
    rl_buf out = {0};
    rl_str key;
    char accept[RL_WS_ACCEPT_LEN + 1];
    rl_deflate *deflate = NULL;
    rl_deflate_terms terms;

    RL_CHECK(rl_http_field_get(rl_http_conn_head(hc), RL_STR("sec-websocket-key"), &key));
    rl_ws_accept(key, accept);
    rl_buf_reserve(&out, RL_HTTP_HEAD_ROOM);
    rl_http_write_status(&out, 101);
    rl_buf_add_str(&out, RL_STR("upgrade: websocket\r\nconnection: Upgrade\r\n"
                                "sec-websocket-accept: "));
    rl_buf_add(&out, accept, RL_WS_ACCEPT_LEN);
    rl_http_write_end(&out);
    if (subprotocol.n)
        rl_buf_printf(&out, "sec-websocket-protocol: %.*s\r\n", (int)subprotocol.n, subprotocol.p);
    if (rl_ws_extensions_agree(rl_http_conn_head(hc), &hc->compression, &terms, &out))
        deflate = rl_deflate_new(&hc->server->deflate, &hc->compression, &terms);
    rl_buf_add_str(&out, headers);
    rl_http_add_owners_lines(hc, headers, &out);
    rl_http_write_end(&out);
    rl_conn_write(hc->conn, out.data, out.len);
    rl_buf_fini(&out);

    rl_http_tell_access(hc, hc->owner, 101, false);
    rl_ws_conn *ws = rl_ws_conn_open(hc->server, hc->conn, deflate, limits, events, owner);
    free_conn(hc);
    return ws;
}

void rl_http_conn_abort(rl_http_conn *hc)
{
    rl_conn_close(hc->conn);
}

void rl_http_conn_drain(rl_list *link)
{
    rl_http_conn *hc = RL_CONTAINER_OF(link, rl_http_conn, link);

    hc->keep = false;
    if (hc->state != HANDLED)
        rl_conn_finish(hc->conn);
}

void rl_http_conn_cut(rl_list *link)
{
    rl_conn_close(RL_CONTAINER_OF(link, rl_http_conn, link)->conn);
}
