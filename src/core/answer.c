/* answer.c - what a handler says to its peer: accept, send, respond, close.
 *
 * Nothing here waits or runs Lua. A call that comes too early, too late or twice is the
 * script's mistake and gets a sentence. */
#include "core/consumer.h"
#include "core/failure.h"

static int no_peer(const rl_consumer *c, rl_err *err)
{
    return rl_err_set(err, RL_ECLOSED, "the connection is closed");
}

int rl_consumer_accept(rl_consumer *c, rl_str subprotocol, rl_str headers, rl_err *err)
{
    if (c->kind != RL_CONSUMER_WEBSOCKET)
        return rl_err_set(err, RL_EPROGRAMMING, "accept is for WebSockets");
    if (c->accepted)
        return rl_err_set(err, RL_EPROGRAMMING, "accept was called already");
    if (!c->http)
        return no_peer(c, err);

    c->accepted = true;
    rl_timeout_stop(&c->grace);
    c->ws =
        rl_http_conn_upgrade(c->http, subprotocol, headers, c->limits, &rl_consumer_ws_events, c);
    c->http = NULL;
    if (c->worker->draining)
        rl_consumer_leave(c, c->worker->farewell.code, rl_worker_farewell(c->worker));
    return 0;
}

int rl_consumer_send(rl_consumer *c, bool text, rl_str data, rl_err *err)
{
    if (RL_UNLIKELY(!c->ws)) {
        if (c->kind == RL_CONSUMER_WEBSOCKET && c->http)
            return rl_err_set(err, RL_EPROGRAMMING, "asend before accept");
        return no_peer(c, err);
    }
    if (RL_UNLIKELY(c->state == RL_CONSUMER_LEAVING))
        return no_peer(c, err);
    rl_ws_conn_send(c->ws, text, data);
    return 0;
}

bool rl_consumer_append(rl_consumer *c, bool text, rl_str data)
{
    return c->ws && c->state == RL_CONSUMER_OPEN && rl_ws_conn_append(c->ws, text, data);
}

bool rl_consumer_is_over(rl_consumer *c)
{
    if (c->ws)
        return rl_ws_conn_is_over(c->ws);
    return c->http && rl_http_conn_is_over(c->http);
}

/* The peer is not ours any more: HTTP goes on to the next request. */
void rl_consumer_answered(rl_consumer *c, uint16_t code, rl_str reason)
{
    rl_http_conn *hc = c->http;

    c->http = NULL;
    rl_timeout_stop(&c->grace);
    rl_http_conn_end(hc);
    rl_consumer_note_close(c, code, reason);
    c->gone = true;
    c->state = RL_CONSUMER_LEAVING;
    rl_consumer_wake_closed(c); /* nobody else would: the connection has forgotten us */
}

static int may_answer(rl_consumer *c, rl_err *err)
{
    if (!c->http)
        return c->accepted ? rl_err_set(err, RL_EPROGRAMMING, "the answer was given already")
                           : no_peer(c, err);
    if (rl_http_conn_started(c->http))
        return rl_err_set(err, RL_EPROGRAMMING, "the answer has begun already");
    return 0;
}

int rl_consumer_start(rl_consumer *c, int status, rl_str headers, int64_t length, rl_err *err)
{
    int rc = may_answer(c, err);

    if (rc < 0)
        return rc;
    if (c->kind == RL_CONSUMER_HTTP)
        c->accepted = true;
    rl_timeout_stop(&c->grace);
    rl_http_conn_start(c->http, status, headers, length);
    return 0;
}

int rl_consumer_write(rl_consumer *c, rl_str body, bool more, rl_err *err)
{
    if (!c->http)
        return no_peer(c, err);
    if (!rl_http_conn_started(c->http))
        return rl_err_set(err, RL_EPROGRAMMING, "a body before its headers");
    if ((uint64_t)rl_http_conn_left(c->http) < body.n)
        return rl_err_set(err, RL_EPROGRAMMING, "more body than the content-length announced");
    rl_http_conn_write(c->http, body);
    rl_consumer_await_beat(c);
    if (!more)
        rl_consumer_answered(c, c->kind == RL_CONSUMER_WEBSOCKET ? 1006 : 1000, RL_STR(""));
    return 0;
}

int rl_consumer_respond(rl_consumer *c, int status, rl_str headers, rl_str body, rl_err *err)
{
    int rc = rl_consumer_start(c, status, headers, (int64_t)body.n, err);

    return rc < 0 ? rc : rl_consumer_write(c, body, false, err);
}

void rl_consumer_close(rl_consumer *c, uint16_t code, rl_str reason)
{
    if (c->ws || c->stream || c->kind == RL_CONSUMER_BACKGROUND) {
        rl_consumer_leave(c, code, reason);
    } else if (c->http && c->kind == RL_CONSUMER_WEBSOCKET && !rl_http_conn_started(c->http)) {
        rl_err err;
        RL_CHECK(rl_consumer_respond(c, 403, RL_STR("content-type: text/plain\r\n"),
                                     RL_STR("Forbidden\n"), &err) == 0);
    } else if (c->http) {
        rl_consumer_abort(c);
    }
}

void rl_consumer_leave(rl_consumer *c, uint16_t code, rl_str reason)
{
    if (c->kind == RL_CONSUMER_BACKGROUND && c->state != RL_CONSUMER_LEAVING)
        rl_consumer_lost(c, code, reason);
    else if (c->stream && c->http && c->state != RL_CONSUMER_LEAVING)
        rl_consumer_end_stream(c, code, reason);
    if (!c->ws || c->state == RL_CONSUMER_LEAVING)
        return;
    c->state = RL_CONSUMER_LEAVING;
    rl_ws_conn_close(c->ws, code, reason);
}

void rl_consumer_abort(rl_consumer *c)
{
    if (c->ws)
        rl_ws_conn_abort(c->ws);
    else if (c->http)
        rl_http_conn_abort(c->http);
    else
        rl_consumer_leave(c, 1001, RL_STR("the server is going away"));
    if (!c->task)
        return;
    if (c->patient && !c->task->cancelled)
        rl_failure_log_cut(c);
    rl_task_cancel(c->task);
}
