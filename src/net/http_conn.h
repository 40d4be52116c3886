/* http_conn.h - an HTTP/1.1 connection on the server's side: one request at a time.
 *
 * The server's on_request takes a request; from then on its owner hears of the body and of the
 * peer's leaving, and answers: start, any number of bodies, end. Requests that were pipelined
 * wait, unread, until the answer is complete. Malformed requests are answered here. */
#ifndef RL_NET_HTTP_CONN_H
#define RL_NET_HTTP_CONN_H

#include "net/server.h"
#include "net/ws_conn.h"
#include "proto/forwarded.h"

typedef struct rl_http_conn_events {
    void (*on_body)(void *owner);  /* more of the request's body, or its end, is here */
    void (*on_drain)(void *owner); /* the peer has read: write on */
    /* The connection is gone, or what the peer sends broke the protocol; the request ends
     * here. Not called once the answer is complete. */
    void (*on_gone)(void *owner);
    /* Lines to be added to the head of the answer, beside those in headers. NULL: none. */
    void (*on_head)(void *owner, rl_str headers, rl_buf *out);
} rl_http_conn_events;

/* A new connection; takes fd. keys: it is to speak TLS; NULL: plain. Its stream; NULL, and fd
 * closed, when the kernel cannot watch another one. */
rl_conn *rl_http_conn_open(rl_server *s, int fd, rl_tls *keys);
/* The link is one of server.https: close it if it idles, else after its answer. */
void rl_http_conn_drain(rl_list *link);
void rl_http_conn_cut(rl_list *link); /* close it whatever it does */

void rl_http_conn_own(rl_http_conn *hc, const rl_http_conn_events *events, void *owner);

/* Valid until the answer ends. */
const rl_http_head *rl_http_conn_head(const rl_http_conn *hc);
rl_conn *rl_http_conn_stream(const rl_http_conn *hc);
/* Does the peer speak for somebody else, and is it one of server.trusted? Without a trusted peer
 * that costs a comparison. */
bool rl_http_conn_forwarded(const rl_http_conn *hc, rl_forwarded *out);
/* Who asks, as far as the peer or those it speaks for can tell. For as long as the head is valid.
 */
rl_address rl_http_conn_client(const rl_http_conn *hc);

/* What of the body has come and was not taken, appended to out. True once nothing will follow. */
bool rl_http_conn_take_body(rl_http_conn *hc, rl_buf *out);

/* What followed the body, once all of it has come; NULL before. Valid until the answer ends. */
const rl_http_head *rl_http_conn_trailers(const rl_http_conn *hc);

/* Headers are complete lines, "name: value\r\n", without those that say how the body is framed:
 * length does (< 0: not known yet, chunks). */
void rl_http_conn_start(rl_http_conn *hc, int status, rl_str headers, int64_t length);
void rl_http_conn_write(rl_http_conn *hc, rl_str body);
/* The answer has no end of its own: a peer that half closes has left. */
void rl_http_conn_stay(rl_http_conn *hc);
/* Of the announced length, what was not written yet; INT64_MAX when none was announced. */
int64_t rl_http_conn_left(const rl_http_conn *hc);
/* The owner is forgotten; the next request may come, unless the body is shorter than announced. */
void rl_http_conn_end(rl_http_conn *hc);

/* The three at once. */
void rl_http_conn_respond(rl_http_conn *hc, int status, rl_str headers, rl_str body);
/* Which limits it has, once its route is known; everybody's until then. Not over a WebSocket's
 * handshake, whose owner says it when it upgrades. False: the body is too long for them. */
bool rl_http_conn_limit(rl_http_conn *hc, uint16_t limits);
bool rl_http_conn_started(const rl_http_conn *hc);
bool rl_http_conn_is_over(rl_http_conn *hc);

/* What an upgrade asks for: is it one, and a good one? 0: not an upgrade to WebSocket; 101: yes;
 * otherwise the status to refuse it with. */
int rl_http_conn_wants_websocket(const rl_http_conn *hc);
/* How messages may be compressed, should it become a WebSocket. */
void rl_http_conn_set_compression(rl_http_conn *hc, const rl_deflate_settings *settings);
/* Answer 101 and hand the connection over; hc is gone. subprotocol may be empty. */
rl_ws_conn *rl_http_conn_upgrade(rl_http_conn *hc, rl_str subprotocol, rl_str headers,
                                 uint16_t limits, const rl_ws_conn_events *events, void *owner);

/* Send what was written and close: no last chunk, so that the peer sees that this was not all. The
 * owner is forgotten. (To HTTP/1.0 without a length every end looks whole.) */
void rl_http_conn_break(rl_http_conn *hc);
/* Cut it off: an answer under way cannot be completed. */
void rl_http_conn_abort(rl_http_conn *hc);

#endif
