/* http.h - HTTP/1 requests: bytes in; a head, pieces of a body and an end out.
 *
 * A pull parser for one request at a time. Needed only while a request is under way:
 * between requests an idle connection may free it, or keep one for many with
 * rl_http_reset().
 *
 *     do {
 *         size_t used = rl_http_feed(h, p, n, &ev);
 *         p += used, n -= used;
 *         ... handle ev ...
 *     } while (ev.type != RL_HTTP_NONE && ev.type != RL_HTTP_DONE);
 *
 * RL_HTTP_NONE comes when every byte has been used, also when n was 0: an incomplete
 * head is in the parser, and the caller keeps nothing. After RL_HTTP_HEAD a caller may
 * stop: the bytes not used are exactly those behind the head, another protocol's
 * perhaps. Otherwise the body follows and then RL_HTTP_DONE, with or without a body;
 * what is left behind that belongs to the next request, and is not touched before a
 * reset.
 *
 * The grammar is taken at its word (RFC 9112), since every leniency is somebody's
 * request smuggling: lines end in CR LF; no folded lines, no control characters, no
 * 0x85, no non-ASCII target; one Host on 1.1; one Content-Length, never beside a
 * Transfer-Encoding, which may only say "chunked". RL_HTTP_ERROR carries the status to
 * answer with before closing, and is the last word: what is fed later is swallowed. */
#ifndef RL_PROTO_HTTP_H
#define RL_PROTO_HTTP_H

#include "proto/http_head.h"

typedef struct rl_http rl_http;

typedef struct rl_http_limits {
    size_t max_head;   /* bytes of request line and headers (431), and about what the
                          framing of a chunked body may add to it; 0: 32 KiB */
    size_t max_target; /* bytes (414); 0: 8 KiB */
    size_t max_fields; /* header lines (431); 0: 100 */
    uint64_t max_body; /* bytes (413); 0: 1 MiB */
} rl_http_limits;

typedef enum rl_http_type {
    RL_HTTP_NONE,  /* all used; feed more when there is more */
    RL_HTTP_HEAD,  /* rl_http_head_of() is complete and checked */
    RL_HTTP_BODY,  /* body: the next piece, never empty */
    RL_HTTP_DONE,  /* the request is complete */
    RL_HTTP_ERROR, /* status: 400, 413, 414, 417, 431, 501 or 505; why: in English */
} rl_http_type;

typedef struct rl_http_event {
    rl_http_type type;
    int status;
    const char *why; /* static */
    rl_str body;     /* a slice of the bytes fed */
} rl_http_event;

rl_http *rl_http_new(const rl_http_limits *limits); /* copied; NULL: the defaults */
void rl_http_free(rl_http *h);
void rl_http_reset(rl_http *h); /* ready for the next request; keeps memory of the head */

/* Use bytes from p[0..n) up to the end of one event; returns how many. */
size_t rl_http_feed(rl_http *h, const char *p, size_t n, rl_http_event *ev);

/* Between RL_HTTP_HEAD and RL_HTTP_DONE: another max_body, now that one knows what the request is
 * for. False: what was announced, or has come, is longer. */
bool rl_http_limit_body(rl_http *h, uint64_t max_body);

/* Valid from RL_HTTP_HEAD until the reset. */
const rl_http_head *rl_http_head_of(const rl_http *h);

/* What followed the last chunk, as fields; from RL_HTTP_DONE until the reset. They are held to the
 * head's grammar and limits, and are nobody's headers: a field that frames or routes is refused. */
const rl_http_head *rl_http_trailers_of(const rl_http *h);

/* Move the head out, for whoever outlives the parser: yours to rl_http_head_fini(). What
 * `out` held before is recycled for the next head. */
void rl_http_swap_head(rl_http *h, rl_http_head *out);

#endif
