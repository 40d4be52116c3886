/* deflate.h - messages made smaller: permessage-deflate (RFC 7692), without its handshake
 * (ws_extensions.h) and without frames (ws.h).
 *
 * A side of a connection may keep its window, the last bytes it sent, from one message to the
 * next ("context takeover"): smaller messages, for an inflater or a deflater of one's own per
 * connection. Without that, which is the default in both directions, every message stands by
 * itself; one deflater and one inflater serve all connections of a worker, one message at a
 * time, and a connection that idles holds none.
 *
 *     kept between messages                 bytes per connection
 *     nothing (the default)                 48
 *     what we send, window of 15/12/9 bits  268 000 / 39 000 / 10 000, from its first such message
 *     what the client sends, likewise       44 000 / 11 000 / 8 000, likewise
 *
 * A message that has not come whole waits compressed, so a peer occupies no more than it sent; it
 * is inflated in one go, in pieces, and given up as soon as it is over the limit. */
#ifndef RL_PROTO_DEFLATE_H
#define RL_PROTO_DEFLATE_H

#include "base/buf.h"

#define RL_DEFLATE_BITS_MIN  9 /* zlib cannot deflate with 8 */
#define RL_DEFLATE_BITS_MAX  15
#define RL_DEFLATE_THRESHOLD 1024
#define RL_DEFLATE_LEVEL     1

/* What an application wants. Zero is the default. */
typedef struct rl_deflate_settings {
    uint32_t threshold; /* messages of fewer bytes are sent as they are; default 1024; 1: none */
    uint8_t level;      /* 1 (fast) to 9 (small); default 1 */
    uint8_t bits;       /* most of our window, 9 to 15; default 15 */
    uint8_t peer_bits;  /* most of the client's window, where it is kept; default 15 */
    bool off : 1;
    bool takeover : 1;      /* keep our window, where the client agrees */
    bool peer_takeover : 1; /* keep the client's, likewise */
} rl_deflate_settings;

/* What was agreed with a client. */
typedef struct rl_deflate_terms {
    uint8_t bits;       /* of our window, 9 to 15 */
    uint8_t peer_bits;  /* of the client's, 8 to 15 */
    bool takeover;      /* of our window */
    bool peer_takeover; /* of the client's */
} rl_deflate_terms;

/* Of a worker: what its connections share, and figures. A zeroed one is a fresh one. */
typedef struct rl_deflate_shared {
    struct rl_deflate_stream *deflaters[RL_DEFLATE_BITS_MAX + 1]; /* by window */
    struct rl_deflate_stream *inflater;
    rl_buf out;        /* of the last message deflated */
    uint64_t deflated; /* messages; one for all who get it */
    uint64_t inflated;
    uint64_t streams; /* deflaters and inflaters there are, those of connections included */
} rl_deflate_shared;

void rl_deflate_shared_fini(rl_deflate_shared *shared);

/* Of a connection that has negotiated. */
typedef struct rl_deflate rl_deflate;

rl_deflate *rl_deflate_new(rl_deflate_shared *shared, const rl_deflate_settings *settings,
                           const rl_deflate_terms *terms);
void rl_deflate_free(rl_deflate *d); /* NULL is fine */

/* A message to the client, without the four bytes at its end that permessage-deflate leaves out:
 * valid until the next one on this worker. False: send it as it is, for it is below the threshold,
 * or would not become smaller; out is as it was. */
bool rl_deflate_message(rl_deflate *d, rl_str message, rl_str *out);

/* The same for several: a message that refers to no window, fit for every connection for which
 * rl_deflate_key() says the same. 0: send it as it is. Whoever is sent one must be told: its own
 * window has gone, for the client's does not end in it any more. */
uint32_t rl_deflate_key(const rl_deflate *d, size_t message_len);
bool rl_deflate_for_all(rl_deflate_shared *shared, uint32_t key, rl_str message, rl_str *out);
void rl_deflate_forget(rl_deflate *d);

typedef enum rl_inflated {
    RL_INFLATED,
    RL_INFLATE_BAD, /* it is not what DEFLATE makes */
    RL_INFLATE_BIG, /* more than `most` bytes; at most a piece more has been inflated */
} rl_inflated;

/* A message from the client, added to out. */
rl_inflated rl_inflate_message(rl_deflate *d, rl_str in, size_t most, rl_buf *out);

/* For another process: what was agreed, and the client's window. Ours begins anew over there, as a
 * sender may (RFC 7692 section 7.1.1). */
void rl_deflate_pack(const rl_deflate *d, rl_buf *out);
rl_deflate *rl_deflate_unpack(rl_deflate_shared *shared, rl_str *in); /* NULL: that is none */

/* A message of n bytes takes no more than this when it is deflated, by any deflater in use. */
size_t rl_deflate_bound(size_t n);

#endif
