/* trace.h - what a parser made of a stream, as text: two ways of cutting the same bytes
 * must read the same. Each piece is fed from a block of its own size, so that the
 * sanitizers see a step beyond it. */
#ifndef RL_SPEC_TRACE_H
#define RL_SPEC_TRACE_H

#include "proto/http.h"
#include "proto/ws.h"

/* Lengths of the pieces, used in turn and again from the start; 0 feeds nothing once. */
typedef struct trace_cuts {
    const size_t *sizes;
    size_t count;
} trace_cuts;

static inline size_t trace_piece(const trace_cuts *cuts, size_t turn, size_t left)
{
    size_t want = cuts->sizes[turn % cuts->count];

    return want < left ? want : left;
}

static inline void trace_bytes(rl_buf *out, rl_str s)
{
    rl_buf_printf(out, "(%zu) ", s.n);
    rl_buf_add_str(out, s);
    rl_buf_add_c(out, '\n');
}

static inline void trace_ws_event(rl_buf *out, const rl_ws_event *ev)
{
    static const char *const names[] = {"none", "text", "binary", "ping", "pong", "close", "error"};

    rl_buf_printf(out, "%s", names[ev->type]);
    if (ev->type == RL_WS_CLOSE || ev->type == RL_WS_ERROR)
        rl_buf_printf(out, " %d", ev->code);
    trace_bytes(out, ev->data);
}

/* One event, read as a server reads: a message that lies whole at p by the short way. */
static inline size_t trace_ws_take(rl_ws *ws, const rl_ws_rules *rules, char *p, size_t n,
                                   rl_ws_event *ev)
{
    bool text;
    rl_str data;
    size_t used = ws->over || !rl_ws_is_idle(ws) ? 0 : rl_ws_whole(rules, p, n, &text, &data);

    if (used == 0)
        return rl_ws_feed(ws, rules, p, n, ev);
    *ev = (rl_ws_event){.type = text ? RL_WS_TEXT : RL_WS_BINARY, .data = data};
    return used;
}

/* Takes deflate; NULL: not negotiated. */
static inline void trace_ws_deflate(rl_buf *out, const rl_ws_rules *rules, rl_deflate *deflate,
                                    rl_str in, trace_cuts cuts)
{
    rl_ws ws = {.deflate = deflate};
    rl_ws_event ev;

    for (size_t at = 0, turn = 0; at < in.n; turn++) {
        size_t n = trace_piece(&cuts, turn, in.n - at);
        char *piece = rl_malloc(n ? n : 1);
        size_t used = 0;

        if (n)
            memcpy(piece, in.p + at, n);
        at += n;
        do {
            used += trace_ws_take(&ws, rules, piece + used, n - used, &ev);
            if (ev.type != RL_WS_NONE)
                trace_ws_event(out, &ev);
            /* What came, not what was announced; and of what was inflated no more than may be. */
            RL_CHECK(ws.part.cap <= 64 + 2 * at ||
                     (deflate && ev.type != RL_WS_NONE && ws.part.len <= rules->max_message));
        } while (ev.type != RL_WS_NONE);
        RL_CHECK(used == n);
        rl_free(piece);
    }
    rl_ws_fini(&ws);
}

static inline void trace_ws(rl_buf *out, const rl_ws_rules *rules, rl_str in, trace_cuts cuts)
{
    trace_ws_deflate(out, rules, NULL, in, cuts);
}

static inline void trace_fields(rl_buf *out, const rl_http_head *head)
{
    for (size_t i = 0; i < rl_http_field_count(head); i++) {
        rl_http_field field = rl_http_field_at(head, i);
        rl_buf_add_str(out, field.name);
        rl_buf_add_c(out, '=');
        rl_buf_add_str(out, field.value);
        rl_buf_add_c(out, '\n');
    }
}

static inline void trace_head(rl_buf *out, const rl_http_head *head)
{
    rl_buf_add_str(out, rl_http_method(head));
    rl_buf_add_c(out, ' ');
    rl_buf_add_str(out, rl_http_target(head));
    rl_buf_printf(out, " 1.%d keep=%d upgrade=%d expect=%d chunked=%d length=%llu\n", head->minor,
                  head->keep_alive, head->upgrade, head->expect_continue, head->chunked,
                  (unsigned long long)head->content_length);
    trace_fields(out, head);
}

/* Requests one after the other, as on a connection that is kept. */
static inline void trace_http(rl_buf *out, const rl_http_limits *limits, rl_str in, trace_cuts cuts)
{
    rl_http *h = rl_http_new(limits);
    rl_http_event ev;

    for (size_t at = 0, turn = 0; at < in.n; turn++) {
        size_t n = trace_piece(&cuts, turn, in.n - at);
        char *piece = rl_malloc(n ? n : 1);
        size_t used = 0;

        if (n)
            memcpy(piece, in.p + at, n);
        at += n;
        do {
            used += rl_http_feed(h, piece + used, n - used, &ev);
            switch (ev.type) {
            case RL_HTTP_NONE:
                break;
            case RL_HTTP_HEAD:
                trace_head(out, rl_http_head_of(h));
                break;
            case RL_HTTP_BODY:
                RL_CHECK(ev.body.n > 0);
                rl_buf_add_str(out, ev.body);
                break;
            case RL_HTTP_DONE:
                rl_buf_add(out, "\ndone\n", 6);
                trace_fields(out, rl_http_trailers_of(h));
                rl_http_reset(h);
                break;
            case RL_HTTP_ERROR:
                rl_buf_printf(out, "\nerror %d %s\n", ev.status, ev.why);
                break;
            }
        } while (ev.type != RL_HTTP_NONE);
        RL_CHECK(used == n);
        rl_free(piece);
    }
    rl_http_free(h);
}

#endif
