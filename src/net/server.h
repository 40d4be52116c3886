/* server.h - what the connections of one worker share: limits, deadlines, whom to tell.
 *
 * A connection begins as rl_http_conn; a handshake that is accepted turns it into rl_ws_conn.
 * Neither knows what a request means: they tell the server's events, and are told what to
 * answer. */
#ifndef RL_NET_SERVER_H
#define RL_NET_SERVER_H

#include "base/networks.h"
#include "io/conn.h"
#include "io/listener.h"
#include "io/timeout.h"
#include "net/access.h"
#include "net/limit_set.h"
#include "proto/deflate.h"
#include "proto/http.h"
#include "proto/ws.h"

typedef struct rl_server rl_server;
typedef struct rl_http_conn rl_http_conn;
typedef struct rl_ws_conn rl_ws_conn;

/* What is the same for every connection; names and defaults are in lua/rille/limits.lua. Times are
 * in ms. Where a limit can be off, 0 is off. */
typedef struct rl_server_limits {
    size_t max_head, max_fields, max_target;
    uint64_t request_timeout, keepalive_timeout, close_timeout, send_timeout;
    uint64_t min_send_rate; /* bytes a second */
    size_t write_high_water;
    unsigned max_connections, max_connections_per_address;
} rl_server_limits;

typedef struct rl_server_events {
    /* A request's head is here. Whoever takes it answers with rl_http_*() exactly once. */
    void (*on_request)(rl_server *s, rl_http_conn *hc);
    /* A request has ended, or a WebSocket: owner is whose it was, NULL if nobody took it. May
     * change what it is told, and log it. NULL: nobody cares. */
    void (*on_access)(rl_server *s, void *owner, rl_access *access);
} rl_server_events;

struct rl_server {
    rl_conns *conns;
    rl_loop *loop;
    rl_slab http_memory, ws_memory; /* of rl_http_conn and rl_ws_conn, */
    rl_server_limits limits;
    rl_http_limits http_limits;
    rl_limit_set **sets; /* the first is everybody's; NULL: a place that is free */
    unsigned nsets;
    rl_list lists; /* of deadlines, by duration */
    const rl_server_events *events;
    rl_list https;   /* every rl_http_conn */
    rl_list awaited; /* every rl_proxied */
    rl_timeouts requests, keepalives, closings;
    rl_deflate_shared deflate; /* for WebSockets whose messages are compressed */
    time_t date_at;            /* the second that date was written for */
    rl_buf date;               /* the Date header's line */
    rl_networks trusted;       /* peers that are believed about those they speak for */
    bool access_log;
    bool draining; /* answer and close: no keep-alive */
    uint64_t refused_logged_at;
    uint64_t proxied_logged_at[3];      /* by what was wrong */
    uint64_t messages_in, messages_out; /* of WebSockets */
    struct rl_ws_reading *reading;      /* of a WebSocket, while it is on the stack; else NULL */
};

/* Nobody may be connected before the first configure. */
void rl_server_init(rl_server *s, rl_conns *conns, const rl_server_events *events);
/* Other limits, also while it serves: sets[0] is everybody's; places[i] tells which number the
 * connections of sets[i] are to have, and is held for the caller. */
void rl_server_configure(rl_server *s, const rl_server_limits *limits, const rl_limits *sets,
                         unsigned n, uint16_t *places);
/* Have the set at this place stay, also over a configure. */
void rl_server_hold(rl_server *s, uint16_t place);
void rl_server_release(rl_server *s, uint16_t place);
/* *held is to be `place` from now on. */
void rl_server_exchange(rl_server *s, uint16_t *held, uint16_t place);
/* Deadlines of this length (ms > 0): to start one, not to be kept. */
rl_timeouts *rl_server_deadlines(rl_server *s, uint64_t after, rl_timeout_fn *fn);
void rl_server_fini(rl_server *s);

/* A new connection; takes fd. */
void rl_server_accept(rl_server *s, int fd, const rl_bound *from);
/* There is a place for it, and it is known for whom it speaks; NULL: for itself. Its stream, unless
 * it was refused after all. */
rl_conn *rl_server_admit(rl_server *s, int fd, rl_tls *keys, const rl_proxy *who);

/* From now on every response is the last on its connection; those that idle are closed. */
void rl_server_drain(rl_server *s);

/* Cut off every HTTP connection. */
void rl_server_abort(rl_server *s);

extern const rl_slab rl_http_conn_memory, rl_ws_conn_memory; /* which begin as these */

/* The Date header, made once a second. */
rl_str rl_server_date(rl_server *s);

/* For the timers of rl_http_conn and rl_ws_conn. */
void rl_http_on_request_due(rl_timeout *t);
void rl_http_on_keepalive_due(rl_timeout *t);
void rl_http_on_body_due(rl_timeout *t);
void rl_ws_on_beat_due(rl_timeout *t);
void rl_ws_on_pong_due(rl_timeout *t);
void rl_ws_on_close_due(rl_timeout *t);

#endif
