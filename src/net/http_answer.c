/* http_answer.c - what is answered, and how it is framed. */
#include "net/http_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "proto/http_write.h"

void rl_http_tell_access(rl_http_conn *hc, void *owner, int status, bool aborted)
{
    rl_server *s = hc->server;

    if (!s->events->on_access)
        return;
    rl_access access = {
        .head = rl_http_head_of(hc->parser),
        .status = status,
        .aborted = aborted,
        .bytes_out = hc->conn->delivered + rl_conn_pending(hc->conn) - hc->before,
        .ms = hc->began ? (double)(rl_clock_ns() - hc->began) / 1e6 : 0,
    };
    if (!owner) /* who else knows it */
        access.peer = hc->began ? rl_http_conn_client(hc) : rl_conn_peer(hc->conn);
    s->events->on_access(s, owner, &access);
}

void rl_http_answer_error(rl_http_conn *hc, int status, const char *why)
{
    rl_buf out = {0};

    rl_http_write_status(&out, status);
    rl_buf_add_str(&out, rl_server_date(hc->server));
    rl_buf_printf(&out,
                  "content-type: text/plain; charset=utf-8\r\ncontent-length: %zu\r\n"
                  "connection: close\r\n\r\n%s\n",
                  strlen(why) + 1, why);
    rl_conn_write(hc->conn, out.data, out.len);
    rl_buf_fini(&out);
    rl_http_tell_access(hc, hc->owner, status, false);
    rl_conn_finish(hc->conn);
    rl_debug("http: answered %d: %s", status, why);
}

void rl_http_add_owners_lines(rl_http_conn *hc, rl_str headers, rl_buf *out)
{
    if (hc->owner && hc->events->on_head)
        hc->events->on_head(hc->owner, headers, out);
}

void rl_http_conn_start(rl_http_conn *hc, int status, rl_str headers, int64_t length)
{
    rl_buf out = {0};
    bool bare = status == 204 || status == 304 || status < 200;

    if (status == 205) /* RFC 9110 section 15.3.6: it has a body, of no bytes */
        length = 0;
    rl_buf_reserve(&out, RL_HTTP_HEAD_ROOM);
    hc->started = true;
    hc->status = status;
    hc->left = length < 0 ? INT64_MAX : length;
    hc->chunked = length < 0 && !hc->no_body && !bare;
    if (hc->chunked && rl_http_conn_head(hc)->minor == 0) {
        hc->chunked = false; /* HTTP/1.0: the end of the connection is the end of the body */
        hc->keep = false;
    }
    rl_http_write_status(&out, status);
    rl_buf_add_str(&out, rl_server_date(hc->server));
    rl_buf_add_str(&out, headers);
    rl_http_add_owners_lines(hc, headers, &out);
    if (length >= 0 && !bare)
        rl_http_write_number(&out, "content-length", (uint64_t)length);
    else if (hc->chunked)
        rl_buf_add_str(&out, RL_STR("transfer-encoding: chunked\r\n"));
    if (!hc->keep || hc->server->draining)
        rl_buf_add_str(&out, RL_STR("connection: close\r\n"));
    else if (rl_http_conn_head(hc)->minor == 0)
        rl_buf_add_str(&out, RL_STR("connection: keep-alive\r\n"));
    rl_http_write_end(&out);
    rl_conn_write(hc->conn, out.data, out.len);
    rl_buf_fini(&out);
    hc->no_body |= bare || status == 205;
}

void rl_http_conn_write(rl_http_conn *hc, rl_str body)
{
    char size[24];

    if (hc->no_body || body.n == 0)
        return;
    if (hc->left != INT64_MAX)
        hc->left -= (int64_t)body.n;
    if (!hc->chunked) {
        rl_conn_write(hc->conn, body.p, body.n);
        return;
    }
    int n = snprintf(size, sizeof(size), "%zx\r\n", body.n);
    rl_conn_write2(hc->conn, size, (size_t)n, body.p, body.n);
    rl_conn_write(hc->conn, "\r\n", 2);
}

void rl_http_conn_stay(rl_http_conn *hc)
{
    hc->stays = true;
    if (hc->conn->eof)
        rl_conn_close(hc->conn);
}

int64_t rl_http_conn_left(const rl_http_conn *hc)
{
    return hc->no_body ? INT64_MAX : hc->left;
}

void rl_http_conn_end(rl_http_conn *hc)
{
    void *owner = hc->owner;

    hc->owner = NULL;
    rl_timeout_stop(&hc->timer);
    if (hc->chunked)
        rl_conn_write(hc->conn, "0\r\n\r\n", 5);
    if (!hc->no_body && hc->left > 0 && hc->left != INT64_MAX) {
        rl_warn("an answer ended %lld bytes short of its content-length: closing",
                (long long)hc->left);
        hc->keep = false; /* the peer waits for the rest: let it see that there is none */
    }
    rl_http_tell_access(hc, owner, hc->status, false);
    if (hc->body_done || hc->conn->eof) {
        rl_http_next_request(hc);
        return;
    }
    /* Somebody did not care for the body. Skip a little to save the connection. */
    if (rl_http_conn_head(hc)->expect_continue && !hc->continued)
        hc->keep = false; /* it may send the body, or may not: nobody can tell */
    hc->skipping = true;
    hc->skipped = 0;
    rl_buf_fini(&hc->body);
    rl_timeout_start(&hc->server->requests, &hc->timer);
    if (!hc->keep)
        rl_conn_finish(hc->conn);
    else
        rl_conn_resume(hc->conn);
}

void rl_http_conn_respond(rl_http_conn *hc, int status, rl_str headers, rl_str body)
{
    rl_http_conn_start(hc, status, headers, (int64_t)body.n);
    rl_http_conn_write(hc, body);
    rl_http_conn_end(hc);
}

void rl_http_conn_break(rl_http_conn *hc)
{
    rl_http_tell_access(hc, hc->owner, hc->status, true);
    hc->owner = NULL;
    rl_timeout_stop(&hc->timer);
    rl_conn_finish(hc->conn);
}

bool rl_http_conn_started(const rl_http_conn *hc)
{
    return hc->started;
}
