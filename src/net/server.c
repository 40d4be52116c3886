#include "net/server.h"

#include "base/log.h"
#include "net/http_conn.h"
#include "net/ws_conn.h"
#include "proto/http_write.h"

#include <time.h>
#include <unistd.h>

static const uint64_t COMPLAIN_EVERY_MS = 5000;

static uint64_t ms(double seconds)
{
    return (uint64_t)(seconds * 1000);
}

static void set_defaults(rl_server_limits *l)
{
    l->max_head = l->max_head ? l->max_head : 32 * 1024;
    l->max_body = l->max_body ? l->max_body : 8 * 1024 * 1024;
    l->max_message = l->max_message ? l->max_message : 1024 * 1024;
    l->max_unsent = l->max_unsent ? l->max_unsent : 4 * 1024 * 1024;
    l->request_timeout = l->request_timeout > 0 ? l->request_timeout : 10;
    l->keepalive_timeout = l->keepalive_timeout > 0 ? l->keepalive_timeout : 75;
    l->ping_interval = l->ping_interval > 0 ? l->ping_interval : 20;
    l->close_timeout = l->close_timeout > 0 ? l->close_timeout : 5;
}

void rl_server_init(rl_server *s, rl_conns *conns, const rl_server_limits *limits,
                    const rl_server_events *events)
{
    *s = (rl_server){.conns = conns, .loop = conns->loop, .events = events};
    rl_list_init(&s->https);
    rl_timeouts_open(&s->requests, s->loop, 0, rl_http_on_request_due);
    rl_timeouts_open(&s->keepalives, s->loop, 0, rl_http_on_keepalive_due);
    rl_timeouts_open(&s->pings, s->loop, 0, rl_ws_on_ping_due);
    rl_timeouts_open(&s->closings, s->loop, 0, rl_ws_on_close_due);
    rl_server_configure(s, limits);
}

void rl_server_configure(rl_server *s, const rl_server_limits *limits)
{
    s->limits = *limits;
    set_defaults(&s->limits);
    s->http_limits =
        (rl_http_limits){.max_head = s->limits.max_head, .max_body = s->limits.max_body};
    s->ws_rules = (rl_ws_rules){.max_message = s->limits.max_message};
    s->requests.after = ms(s->limits.request_timeout);
    s->keepalives.after = ms(s->limits.keepalive_timeout);
    s->pings.after = ms(s->limits.ping_interval);
    s->closings.after = ms(s->limits.close_timeout);
}

void rl_server_fini(rl_server *s)
{
    RL_CHECK(rl_list_empty(&s->https));
    rl_timeouts_close(&s->requests);
    rl_timeouts_close(&s->keepalives);
    rl_timeouts_close(&s->pings);
    rl_timeouts_close(&s->closings);
    rl_deflate_shared_fini(&s->deflate);
    rl_buf_fini(&s->date);
}

void rl_server_accept(rl_server *s, int fd)
{
    if (s->limits.max_connections && s->conns->count >= s->limits.max_connections) {
        uint64_t now = rl_loop_now(s->loop);
        close(fd);
        s->loop->counters.refused_max_connections++;
        if (!s->refused_logged_at || now - s->refused_logged_at > COMPLAIN_EVERY_MS) {
            s->refused_logged_at = now;
            rl_warn("max_connections (%u) reached: refused so far: %llu", s->limits.max_connections,
                    (unsigned long long)s->loop->counters.refused_max_connections);
        }
        return;
    }
    rl_http_conn_open(s, fd);
}

void rl_server_drain(rl_server *s)
{
    s->draining = true;
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
