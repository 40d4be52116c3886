/* http_state.h - the inside of an HTTP connection, for the files that drive it and nobody else:
 * http_conn.c (requests in), http_answer.c (answers out), http_deadlines.c (time). */
#ifndef RL_NET_HTTP_STATE_H
#define RL_NET_HTTP_STATE_H

#include "net/http_conn.h"

enum { RL_HTTP_HEAD_ROOM = 512 }; /* an answer's head seldom needs more */

/* How it goes from one to the other is told in http_conn.c. */
enum http_state { IDLE, HEAD, HANDLED };

struct rl_http_conn {
    rl_conn *conn;
    rl_server *server;
    const rl_http_conn_events *events;
    void *owner;
    rl_http *parser; /* NULL when IDLE */
    rl_list link;    /* on server.https */
    rl_timeout timer;
    rl_buf body; /* came, and was not taken */
    enum http_state state;
    bool body_done;
    bool started;    /* the answer's head is out */
    bool chunked;    /* the answer's body is in chunks */
    bool no_body;    /* HEAD, 204, 304: the answer has none */
    bool continued;  /* 100 was sent: the peer sends the body */
    bool keep;       /* another request may follow */
    bool stays;      /* the answer ends when the peer leaves, or we do */
    bool skipping;   /* answered; what is left of the body is read and dropped */
    uint16_t limits; /* the number of its set */
    uint32_t born;   /* s, loop's clock */
    size_t skipped;
    uint64_t began;  /* ns: when the head was complete; 0: it is not */
    uint64_t before; /* bytes sent on the connection by then */
    uint64_t heard;  /* the same when it was last seen that a half-closed peer still reads; bytes
                        received when it was last seen that the body comes */
    int status;      /* of the answer */
    rl_deflate_settings compression; /* of a WebSocket */
    int64_t left;                    /* of the announced body; INT64_MAX: none was announced */
};

static inline const rl_limit_set *rl_http_limits_of(const rl_http_conn *hc)
{
    return hc->server->sets[hc->limits];
}

/* The answer is complete: wait for another request, or close. */
void rl_http_next_request(rl_http_conn *hc);
void rl_http_forget_owner(rl_http_conn *hc); /* and tell it */

/* Whose it was, and how it went. */
void rl_http_tell_access(rl_http_conn *hc, void *owner, int status, bool aborted);
/* Ours, instead of the owner's; the connection closes behind it. */
void rl_http_answer_error(rl_http_conn *hc, int status, const char *why);
/* Lines of the owner's, for the head of its answer. */
void rl_http_add_owners_lines(rl_http_conn *hc, rl_str headers, rl_buf *out);

/* From now on the body must come at some speed. */
void rl_http_expect_body(rl_http_conn *hc);
/* The peer half closed: from now on, see now and then whether it still reads. */
void rl_http_expect_reader(rl_http_conn *hc);

#endif
