/* ws_conn.h - a WebSocket: messages in both directions, pings, the closing handshake.
 *
 * Made by rl_http_upgrade(). Pings are answered and sent here; a peer that is silent after
 * one is gone, and one that floods us with them is closed (limit_set.h). Closing:
 * rl_ws_conn_close() sends our close frame and waits a little for the peer's; on_closed comes once,
 * last, with the code that ended it (1006: none, the peer vanished). */
#ifndef RL_NET_WS_CONN_H
#define RL_NET_WS_CONN_H

#include "net/server.h"

typedef struct rl_ws_conn_events {
    /* One whole message, borrowed. To have no more of them for now, pause; to have the next one
     * without returning, rl_ws_conn_next(). */
    void (*on_message)(void *owner, bool text, rl_str data);
    void (*on_drain)(void *owner);
    void (*on_closed)(void *owner, uint16_t code, rl_str reason);
    /* A limit is reached: close it, with this. Called once. */
    void (*on_limit)(void *owner, uint16_t code, rl_str reason);
} rl_ws_conn_events;

/* Takes conn over, and deflate, which is NULL when messages are not to be compressed. limits: the
 * number of its route's set. */
rl_ws_conn *rl_ws_conn_open(rl_server *s, rl_conn *conn, rl_deflate *deflate, uint16_t limits,
                            const rl_ws_conn_events *events, void *owner);

rl_conn *rl_ws_conn_stream(const rl_ws_conn *ws);

/* From inside on_message: the message behind that one, borrowed until on_message returns. False: it
 * has not come whole, or something else comes first, which is told when on_message has returned. */
bool rl_ws_conn_next(rl_ws_conn *ws, bool *text, rl_str *data);

void rl_ws_conn_send(rl_ws_conn *ws, bool text, rl_str data);
/* The same for a message that only joins others in the cork: nothing is called, nothing else
 * happens. False: it takes more than that (compression, a cork that is full, a peer that does not
 * read). */
bool rl_ws_conn_append(rl_ws_conn *ws, bool text, rl_str data);
/* A frame that is encoded already, for fan-out. 0: that is done. Else this connection wants it
 * compressed, and nothing was sent; one compressed frame will do for all that answer the same. */
uint32_t rl_ws_conn_send_frame(rl_ws_conn *ws, rl_shared *frame);
/* That compressed frame, yours; NULL when it would not be smaller. */
rl_shared *rl_ws_conn_deflate_frame(rl_ws_conn *ws, uint32_t key, rl_str frame);
/* Send it; or, deflated = false, the frame that would not become smaller. */
void rl_ws_conn_send_shared(rl_ws_conn *ws, bool deflated, rl_shared *frame);

/* True: the peer leaves too much unread; wait for on_drain. */
bool rl_ws_conn_is_over(rl_ws_conn *ws);
/* True: it leaves more than max_unsent: what cannot wait should be dropped. */
bool rl_ws_conn_is_full(const rl_ws_conn *ws);

size_t rl_ws_conn_unsent(const rl_ws_conn *ws); /* bytes */

void rl_ws_conn_pause(rl_ws_conn *ws);
void rl_ws_conn_resume(rl_ws_conn *ws);

/* Other limits hold from now on: of this set. */
void rl_ws_conn_limit(rl_ws_conn *ws, uint16_t limits);

/* To another process: only while it is whole, which is to say plain, open, no message or frame has
 * come in part, and nothing waits to be sent. */
bool rl_ws_conn_is_whole(const rl_ws_conn *ws);
/* The descriptor, yours, and the rest behind out; the owner hears nothing more. */
int rl_ws_conn_leave(rl_ws_conn *ws, rl_buf *out);
/* The other end: paused. Takes fd; NULL: that is none, or the kernel cannot watch another one. */
rl_ws_conn *rl_ws_conn_arrive(rl_server *s, int fd, rl_str *in, uint16_t limits,
                              const rl_ws_conn_events *events, void *owner);

/* Start the closing handshake; repeating is harmless. */
void rl_ws_conn_close(rl_ws_conn *ws, uint16_t code, rl_str reason);
/* Cut it off without a word: on_closed with 1006 follows. */
void rl_ws_conn_abort(rl_ws_conn *ws);

#endif
