/* ws.h - WebSocket, the server's side of RFC 6455: bytes in, messages out.
 *
 * A pull parser. Lend it what has been read and ask until it has nothing more to say:
 *
 *     do {
 *         size_t used = rl_ws_feed(&ws, &rules, p, n, &ev);
 *         p += used, n -= used;
 *         ... handle ev ...
 *     } while (ev.type != RL_WS_NONE);
 *
 * RL_WS_NONE comes when every byte has been used, also when n was 0; an incomplete head
 * or payload is then in the state and the caller keeps nothing. A caller that stops
 * earlier (its mailbox is full, say) keeps the bytes not yet used and feeds them first
 * when it goes on. The bytes lent are unmasked where they lie: they are changed, and a
 * frame that is whole in them is given back as a slice of them, without a copy.
 *
 * What a peer announces costs nothing: the buffer of an unfinished message grows with
 * the bytes that came, within the limits, and is given back once the message is done
 * with. Between messages there is none.
 *
 * RL_WS_CLOSE and RL_WS_ERROR are the last word; whatever is fed later is swallowed.
 * A zeroed rl_ws is a fresh one; where permessage-deflate was agreed, give it `deflate`.
 * Messages that came compressed are told as they were before. */
#ifndef RL_PROTO_WS_H
#define RL_PROTO_WS_H

#include "base/buf.h"
#include "proto/deflate.h"
#include "proto/utf8.h"

typedef enum rl_ws_opcode {
    RL_WS_OP_CONTINUATION = 0x0,
    RL_WS_OP_TEXT = 0x1,
    RL_WS_OP_BINARY = 0x2,
    RL_WS_OP_CLOSE = 0x8,
    RL_WS_OP_PING = 0x9,
    RL_WS_OP_PONG = 0xa,
} rl_ws_opcode;

/* Status codes this end may have to say by itself (RFC 6455 section 7.4.1). */
enum {
    RL_WS_NORMAL = 1000,
    RL_WS_GOING_AWAY = 1001,
    RL_WS_PROTOCOL = 1002,
    RL_WS_NO_STATUS = 1005, /* never on the wire: the close frame was empty */
    RL_WS_BAD_DATA = 1007,
    RL_WS_TOO_BIG = 1009,
};

#define RL_WS_MESSAGE_DEFAULT (1024 * 1024)
#define RL_WS_HEAD_MAX        10  /* what rl_ws_head() may write */
#define RL_WS_CONTROL_MAX     125 /* payload of a control frame */

/* The same for every connection of a server, hence not part of rl_ws. */
typedef struct rl_ws_rules {
    size_t max_message; /* bytes of a message, all its fragments; 0: 1 MiB; SIZE_MAX: no limit */
    size_t max_frame;   /* bytes of one frame; 0: as max_message */
} rl_ws_rules;

typedef enum rl_ws_type {
    RL_WS_NONE,   /* all used; feed more when there is more */
    RL_WS_TEXT,   /* data: a whole message, valid UTF-8 */
    RL_WS_BINARY, /* data: a whole message */
    RL_WS_PING,   /* data: to be sent back in a pong */
    RL_WS_PONG,   /* data: what the ping carried */
    RL_WS_CLOSE,  /* code and data: the peer's reason, or RL_WS_NO_STATUS and nothing */
    RL_WS_ERROR,  /* code: what to close with; data: what the peer did, in English */
} rl_ws_type;

typedef struct rl_ws_event {
    rl_ws_type type;
    uint16_t code;
    rl_str data; /* valid until the next feed, and as long as the bytes lent */
} rl_ws_event;

typedef struct rl_ws {
    rl_deflate *deflate; /* its; NULL: no frame may be compressed */
    rl_buf part;         /* what has come of an unfinished message, then of a control frame */
    uint64_t left;       /* payload bytes of the current frame still to come */
    uint8_t mask[4];     /* turned so that the next byte meets mask[0] */
    uint8_t head[14];    /* the beginning of a head that has not come whole, */
    uint8_t head_len;    /* and how much of it there is */
    uint8_t control;     /* bytes of a control frame at the end of part */
    uint8_t message;     /* opcode of the unfinished message, + 0x40 if it is compressed; 0: none */
    uint8_t opcode;      /* of the current frame */
    bool fin;            /* the current frame is its message's last */
    bool inside;         /* a frame is current */
    bool spent;          /* part was lent out with the last event */
    bool over;           /* closed, or broken */
    rl_utf8 utf8;        /* of the unfinished text */
} rl_ws;

void rl_ws_fini(rl_ws *ws);

/* Between messages, and nothing of the next has come: as good as a fresh one, which may take its
 * place; and when all bytes are used, feeding none would tell nothing. (One that is over may say
 * so, too.) */
static inline bool rl_ws_is_idle(const rl_ws *ws)
{
    return !ws->inside && !ws->message && !ws->head_len && !ws->part.data;
}

/* What rl_ws_feed() would tell first, where that is a text or binary message in one frame which
 * lies whole at p[0..n), of a parser that is idle: nearly always, and in a fraction of the time.
 * Returns how many bytes it takes; 0: it is something else, feed it. */
size_t rl_ws_whole(const rl_ws_rules *rules, char *p, size_t n, bool *text, rl_str *data);

/* Use bytes from p[0..n) up to the end of one event; returns how many. */
size_t rl_ws_feed(rl_ws *ws, const rl_ws_rules *rules, char *p, size_t n, rl_ws_event *ev);

/* Head of an unfragmented, unmasked frame: returns its length; the payload follows it. */
size_t rl_ws_head(char out[RL_WS_HEAD_MAX], rl_ws_opcode opcode, uint64_t payload_len);

/* The same for a message that is compressed. */
size_t rl_ws_head_deflated(char out[RL_WS_HEAD_MAX], rl_ws_opcode opcode, uint64_t payload_len);

/* Payload of a close frame: returns its length. The reason should be UTF-8; one that is
 * too long is cut between characters. RL_WS_NO_STATUS gives an empty payload. */
size_t rl_ws_close_payload(char out[RL_WS_CONTROL_MAX], uint16_t code, rl_str reason);

bool rl_ws_close_code_valid(unsigned code); /* may it be on the wire? */

#endif
