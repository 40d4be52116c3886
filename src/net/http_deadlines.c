/* http_deadlines.c - how long a connection waits for a request, its body, its reader, another one.
 */
#include "net/http_state.h"

void rl_http_expect_body(rl_http_conn *hc)
{
    if (!rl_http_limits_of(hc)->bodies)
        return;
    hc->heard = hc->conn->received;
    rl_timeout_start(rl_http_limits_of(hc)->bodies, &hc->timer);
}

void rl_http_expect_reader(rl_http_conn *hc)
{
    hc->heard = hc->conn->delivered;
    rl_timeout_start(&hc->server->requests, &hc->timer);
}

/* The head, or the rest of an unwanted body, did not come in time; or the peer half closed, and
 * nothing was sent since: whether it still reads only sending can tell. */
void rl_http_on_request_due(rl_timeout *t)
{
    rl_http_conn *hc = RL_CONTAINER_OF(t, rl_http_conn, timer);

    if (hc->state == HEAD) {
        hc->server->loop->counters.request_timeouts++;
        rl_http_answer_error(hc, 408, "the request did not come in time");
    } else if (hc->state == HANDLED && !hc->skipping && hc->heard != hc->conn->delivered) {
        rl_http_expect_reader(hc);
    } else {
        rl_conn_close(hc->conn);
    }
}

/* A time has passed in which the body should have come some way. */
void rl_http_on_body_due(rl_timeout *t)
{
    rl_http_conn *hc = RL_CONTAINER_OF(t, rl_http_conn, timer);
    const rl_limits *l = &rl_http_limits_of(hc)->of;
    uint64_t want = l->min_body_rate * l->body_timeout / 1000;
    bool ours = hc->conn->paused || (rl_http_conn_head(hc)->expect_continue && !hc->continued);

    if (ours || hc->conn->received - hc->heard >= want) {
        rl_http_expect_body(hc);
        return;
    }
    hc->server->loop->counters.body_timeouts++;
    if (!hc->started) {
        rl_http_answer_error(hc, 408, "the request's body did not come in time");
        rl_http_forget_owner(hc);
    } else {
        rl_conn_close(hc->conn);
    }
}

void rl_http_on_keepalive_due(rl_timeout *t)
{
    rl_http_conn *hc = RL_CONTAINER_OF(t, rl_http_conn, timer);

    hc->server->loop->counters.keepalive_timeouts++;
    rl_conn_finish(hc->conn);
}
