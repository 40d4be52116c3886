/* server.h - what the connections of one worker share: limits, deadlines, whom to tell.
 *
 * A connection begins as rl_http_conn; a handshake that is accepted turns it into rl_ws_conn.
 * Neither knows what a request means: they tell the server's events, and are told what to
 * answer. */
#ifndef RL_NET_SERVER_H
#define RL_NET_SERVER_H

#include "io/conn.h"
#include "io/timeout.h"
#include "proto/deflate.h"
#include "proto/http.h"
#include "proto/ws.h"

typedef struct rl_server rl_server;
typedef struct rl_http_conn rl_http_conn;
typedef struct rl_ws_conn rl_ws_conn;

/* Zero means the default. Times in seconds. */
typedef struct rl_server_limits {
    size_t max_head;          /* bytes of a request's head; 32 KiB */
    size_t max_body;          /* bytes of a request's body; 8 MiB */
    size_t max_message;       /* bytes of a WebSocket message; 1 MiB */
    size_t max_unsent;        /* bytes a peer may leave unread before it is cut off; 4 MiB */
    unsigned max_connections; /* 0: as many as there are descriptors */
    double request_timeout;   /* from the first byte to the end of the head; 10 */
    double keepalive_timeout; /* between requests; 75 */
    double ping_interval; /* silence before a ping; as long again without an answer ends it; 20 */
    double close_timeout; /* for the peer's half of the closing handshake; 5 */
} rl_server_limits;

typedef struct rl_server_events {
    /* A request's head is here. Whoever takes it answers with rl_http_*() exactly once. */
    void (*on_request)(rl_server *s, rl_http_conn *hc);
} rl_server_events;

struct rl_server {
    rl_conns *conns;
    rl_loop *loop;
    rl_server_limits limits;
    rl_http_limits http_limits;
    rl_ws_rules ws_rules;
    const rl_server_events *events;
    rl_list https; /* every rl_http_conn */
    rl_timeouts requests, keepalives, pings, closings;
    rl_deflate_shared deflate; /* for WebSockets whose messages are compressed */
    time_t date_at; /* the second that date was written for */
    rl_buf date;    /* the Date header's line */
    bool access_log;
    bool draining; /* answer and close: no keep-alive */
    uint64_t refused_logged_at;
};

void rl_server_init(rl_server *s, rl_conns *conns, const rl_server_limits *limits,
                    const rl_server_events *events);
/* Other limits, before anybody is connected. */
void rl_server_configure(rl_server *s, const rl_server_limits *limits);
void rl_server_fini(rl_server *s);

/* A new connection; takes fd. */
void rl_server_accept(rl_server *s, int fd);

/* From now on every response is the last on its connection; those that idle are closed. */
void rl_server_drain(rl_server *s);

/* Cut off every HTTP connection. */
void rl_server_abort(rl_server *s);

/* The Date header, made once a second. */
rl_str rl_server_date(rl_server *s);

/* For the timers of rl_http_conn and rl_ws_conn. */
void rl_http_on_request_due(rl_timeout *t);
void rl_http_on_keepalive_due(rl_timeout *t);
void rl_ws_on_ping_due(rl_timeout *t);
void rl_ws_on_close_due(rl_timeout *t);

#endif
