#include "proto/http.h"

#include "proto/http_lines.h"
#include "proto/url.h"

#include <llhttp.h>

/* llhttp knows the grammar; this file knows what we want of it.
 *
 * Two readers go over a head, and over trailers, one step after the other. http_lines.h looks at
 * lines only: their ends, what may not be in them, and where the head ends. llhttp then gets
 * exactly the bytes that passed, and its callbacks build the rl_http_head. The first is there
 * because llhttp 8 accepts some of what we refuse: headers without a name, folded lines, a bare
 * line feed behind the last header, runs of spaces, protocols other than HTTP. When both object,
 * the one that objects to the earlier byte is heard, so that the answer does not depend on how the
 * stream was cut.
 *
 * Since callbacks cannot return events, llhttp is paused in each of them and resumed by
 * the next feed: that is what makes it a pull parser. */

enum {
    MAX_HEAD = 32 * 1024,
    MAX_TARGET = 8 * 1024,
    MAX_FIELDS = 100,
    MAX_BODY = 1024 * 1024,
    FRAMING_PER_BYTE = 16, /* how much chunking may add; one byte per chunk needs 5 */
};

typedef enum phase {
    IN_HEAD,
    IN_BODY,
    IN_TRAILERS, /* behind the last chunk: lines again */
    COMPLETE,
    BROKEN,
} phase;

struct rl_http {
    llhttp_t parser;
    rl_http_limits limits; /* all set */
    rl_http_head head;
    rl_http_head trailers; /* only fields */
    phase phase;
    rl_http_lines lines; /* of the head, then of the trailers */
    uint64_t body;       /* bytes of it told */
    uint64_t framing;    /* bytes between them that chunking took */
    bool in_field;       /* a header's name or value is being read */
    bool head_seen;      /* llhttp has met the end of the head */
    bool body_seen;      /* … and of the request */
    rl_str piece;        /* of the body, from on_body to the event */
    int status;          /* 0, or what a callback objects with */
    const char *why;
};

static int refuse(rl_http *h, int status, const char *why)
{
    if (!h->status) {
        h->status = status;
        h->why = why;
    }
    return HPE_USER;
}

static int on_method(llhttp_t *parser, const char *p, size_t n)
{
    rl_http *h = parser->data;

    rl_http_put_method(&h->head, (rl_str){p, n});
    return 0;
}

static int on_url(llhttp_t *parser, const char *p, size_t n)
{
    rl_http *h = parser->data;

    rl_http_put_target(&h->head, (rl_str){p, n});
    return 0;
}

static rl_http_head *fields_of(rl_http *h)
{
    return h->phase == IN_HEAD ? &h->head : &h->trailers;
}

static int on_field(llhttp_t *parser, const char *p, size_t n)
{
    rl_http *h = parser->data;

    if (!h->in_field) {
        rl_http_put_field(fields_of(h));
        h->in_field = true;
    }
    rl_http_put_name(fields_of(h), (rl_str){p, n});
    return 0;
}

static int on_value(llhttp_t *parser, const char *p, size_t n)
{
    rl_http *h = parser->data;

    if (h->in_field)
        rl_http_put_value(fields_of(h), (rl_str){p, n});
    return 0;
}

static int on_value_end(llhttp_t *parser)
{
    rl_http *h = parser->data;

    if (h->in_field)
        rl_http_put_end(fields_of(h));
    h->in_field = false;
    return 0;
}

static int on_head_end(llhttp_t *parser)
{
    rl_http *h = parser->data;

    h->head_seen = true;
    return HPE_PAUSED;
}

/* parser->content_length is the size of the chunk that begins; behind the last, of none, there are
 * lines again. */
static int on_chunk(llhttp_t *parser)
{
    rl_http *h = parser->data;

    if (parser->content_length > h->limits.max_body - h->body)
        return refuse(h, 413, "the body is too long");
    if (parser->content_length > 0)
        return 0;
    h->phase = IN_TRAILERS;
    h->lines = (rl_http_lines){.line = 1};
    return HPE_PAUSED;
}

static int on_body(llhttp_t *parser, const char *p, size_t n)
{
    rl_http *h = parser->data;

    h->piece = (rl_str){p, n};
    return n ? HPE_PAUSED : 0;
}

static int on_end(llhttp_t *parser)
{
    rl_http *h = parser->data;

    h->body_seen = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_method = on_method,
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_end,
    .on_headers_complete = on_head_end,
    .on_chunk_header = on_chunk,
    .on_body = on_body,
    .on_message_complete = on_end,
};

rl_http *rl_http_new(const rl_http_limits *limits)
{
    rl_http *h = rl_calloc(1, sizeof(*h));

    if (limits)
        h->limits = *limits;
    if (!h->limits.max_head)
        h->limits.max_head = MAX_HEAD;
    if (h->limits.max_head > UINT32_MAX / 2) /* offsets in a head have 32 bits */
        h->limits.max_head = UINT32_MAX / 2;
    if (!h->limits.max_target)
        h->limits.max_target = MAX_TARGET;
    if (!h->limits.max_fields)
        h->limits.max_fields = MAX_FIELDS;
    if (!h->limits.max_body)
        h->limits.max_body = MAX_BODY;
    rl_http_reset(h);
    return h;
}

void rl_http_free(rl_http *h)
{
    if (!h)
        return;
    rl_http_head_fini(&h->head);
    rl_http_head_fini(&h->trailers);
    rl_free(h);
}

void rl_http_reset(rl_http *h)
{
    rl_http_head head = h->head;

    rl_http_head_clear(&head);
    rl_http_head_fini(&h->trailers); /* too rare to keep the memory */
    *h = (rl_http){.limits = h->limits, .head = head};
    llhttp_init(&h->parser, HTTP_REQUEST, &settings);
    h->parser.data = h;
}

const rl_http_head *rl_http_head_of(const rl_http *h)
{
    return &h->head;
}

const rl_http_head *rl_http_trailers_of(const rl_http *h)
{
    return &h->trailers;
}

void rl_http_swap_head(rl_http *h, rl_http_head *out)
{
    rl_http_head head = h->head;

    rl_http_head_clear(out);
    h->head = *out;
    *out = head;
}

static const char BAD_VERSION[] = "the version of HTTP is not 1.0 or 1.1";

/* Let llhttp have p[0..n); returns how many bytes it took before it paused or objected.
 * The objection is in h->status. */
static size_t run(rl_http *h, const char *p, size_t n)
{
    llhttp_errno_t code = llhttp_execute(&h->parser, p, n);

    if (code == HPE_OK)
        return n;
    if (code == HPE_PAUSED)
        llhttp_resume(&h->parser);
    else if (code == HPE_INVALID_METHOD)
        refuse(h, 501, "the method is unknown");
    else if (code == HPE_INVALID_VERSION || h->parser.method == HTTP_PRI)
        refuse(h, 505, BAD_VERSION);
    else if (code == HPE_INVALID_TRANSFER_ENCODING && h->phase == IN_HEAD)
        refuse(h, 501, "the transfer encoding is not \"chunked\"");
    else
        refuse(h, 400, llhttp_get_error_reason(&h->parser));
    return (size_t)(llhttp_get_error_pos(&h->parser) - p);
}

/* One header, exactly or at most, with the authority the request is for (RFC 9112
 * section 3.2). One in the target must not contradict it. */
static void check_host(rl_http *h, rl_str authority)
{
    size_t hosts = rl_http_field_times(&h->head, RL_STR("host"));
    rl_str host = {"", 0};

    rl_http_field_get(&h->head, RL_STR("host"), &host);
    if (hosts > 1)
        refuse(h, 400, "there is more than one Host");
    else if (hosts == 0 && h->head.minor >= 1)
        refuse(h, 400, "there is no Host");
    else if (host.n && !rl_url_authority_valid(host))
        refuse(h, 400, "the Host is not a host");
    else if (authority.p && hosts && !rl_str_eq_nocase(authority, host))
        refuse(h, 400, "the Host is not the one in the target");
}

/* Section 3.2: which forms of a target go with which method. */
static void check_target(rl_http *h)
{
    rl_str method = rl_http_method(&h->head);
    rl_url url = {{NULL, 0}, {NULL, 0}, {NULL, 0}};

    if (rl_str_eq(method, RL_STR("CONNECT")))
        refuse(h, 501, "CONNECT is for proxies, and this is none");
    else if (rl_str_eq(method, RL_STR("TRACE")))
        refuse(h, 501, "TRACE is not served: it would show what only a browser should know");
    else if (rl_url_split(&url, rl_http_target(&h->head), NULL) < 0)
        refuse(h, 400, "the target is neither a path nor a http URL");
    else if (rl_str_eq(url.path, RL_STR("*")) && !rl_str_eq(method, RL_STR("OPTIONS")))
        refuse(h, 400, "the target \"*\" is for OPTIONS only");
    check_host(h, url.authority);
}

/* Section 6: how long is the body? llhttp has refused what is contradictory. */
static void check_body(rl_http *h)
{
    rl_str value;

    switch (rl_http_field_times(&h->head, RL_STR("transfer-encoding"))) {
    case 0:
        h->head.content_length = h->parser.content_length;
        if (h->head.content_length > h->limits.max_body)
            refuse(h, 413, "the body is too long");
        return;
    case 1:
        rl_http_field_get(&h->head, RL_STR("transfer-encoding"), &value);
        h->head.chunked = rl_str_eq_nocase(value, RL_STR("chunked"));
        break;
    }
    if (!h->head.chunked)
        refuse(h, 501, "the transfer encoding is not \"chunked\"");
    else if (h->head.minor == 0)
        refuse(h, 400, "HTTP/1.0 has no transfer encodings");
}

/* RFC 9110 section 10.1.1: there is one expectation, which HTTP/1.0 does not know. */
static void check_expect(rl_http *h)
{
    rl_str expect;

    if (h->head.minor == 0 || !rl_http_field_get(&h->head, RL_STR("expect"), &expect))
        return;
    h->head.expect_continue = rl_str_eq_nocase(expect, RL_STR("100-continue"));
    if (!h->head.expect_continue || rl_http_field_times(&h->head, RL_STR("expect")) > 1)
        refuse(h, 417, "only 100-continue can be expected");
}

static void check_head(rl_http *h)
{
    if (h->parser.http_major != 1) {
        refuse(h, 505, BAD_VERSION);
        return;
    }
    h->head.minor = h->parser.http_minor;
    h->head.keep_alive = llhttp_should_keep_alive(&h->parser);
    h->head.upgrade = h->parser.upgrade;
    check_target(h);
    check_body(h);
    check_expect(h);
}

/* Section 6.5.1 of RFC 9110: what says how long a message is, or where it goes, comes too late. */
static void check_trailers(rl_http *h)
{
    static const rl_str never[] = {
        {"content-length", 14}, {"transfer-encoding", 17}, {"host", 4}, {"trailer", 7}};

    for (size_t i = 0; i < RL_COUNT(never); i++)
        if (rl_http_field_times(&h->trailers, never[i]))
            refuse(h, 400, "a header among the trailers that cannot be one");
}

static void tell_error(rl_http *h, rl_http_event *ev)
{
    h->phase = BROKEN;
    *ev = (rl_http_event){.type = RL_HTTP_ERROR, .status = h->status, .why = h->why};
}

static size_t feed_head(rl_http *h, const char *p, size_t n, rl_http_event *ev)
{
    int status;
    const char *why;
    size_t used = rl_http_lines_scan(&h->lines, &h->limits, p, n, &status, &why);

    if (used && run(h, p, used) < used && h->parser.error == HPE_OK)
        refuse(h, 400, "the head ends in an unexpected place");
    if (h->lines.ended && !h->head_seen && h->parser.method == HTTP_PRI)
        refuse(h, 505, BAD_VERSION); /* RFC 9113 section 3.4; llhttp waits for all of it */
    else if (h->lines.ended != h->head_seen)
        refuse(h, 400, "the head ends in an unexpected place");
    else if (status)
        refuse(h, status, why);
    else if (h->lines.ended && !h->status)
        check_head(h);
    else if (h->lines.used == h->limits.max_head)
        refuse(h, 431, "the head is too long");

    if (h->status) {
        tell_error(h, ev);
        return n;
    }
    if (h->lines.ended) {
        h->phase = IN_BODY;
        ev->type = RL_HTTP_HEAD;
    }
    return used;
}

static size_t feed_trailers(rl_http *h, const char *p, size_t n, rl_http_event *ev)
{
    int status;
    const char *why;
    size_t used = rl_http_lines_scan(&h->lines, &h->limits, p, n, &status, &why);

    if (used && run(h, p, used) < used && h->parser.error == HPE_OK)
        refuse(h, 400, "the trailers end in an unexpected place");
    if (h->lines.ended != h->body_seen)
        refuse(h, 400, "the trailers end in an unexpected place");
    else if (status)
        refuse(h, status, why);
    else if (h->lines.ended)
        check_trailers(h);
    else if (h->lines.used == h->limits.max_head)
        refuse(h, 431, "the trailers are too long");

    if (h->status) {
        tell_error(h, ev);
        return n;
    }
    if (h->lines.ended) {
        h->phase = COMPLETE;
        ev->type = RL_HTTP_DONE;
    }
    return used;
}

static size_t feed_body(rl_http *h, const char *p, size_t n, rl_http_event *ev)
{
    h->piece = (rl_str){NULL, 0};
    size_t used = run(h, p, n);

    h->framing += used - h->piece.n;
    if (h->framing > h->limits.max_head + h->body * FRAMING_PER_BYTE) {
        h->status = 0; /* this came first: it was true before llhttp could object */
        refuse(h, 400, "there is more framing than body");
    }
    h->body += h->piece.n;

    if (h->status) {
        tell_error(h, ev);
        return n;
    }
    if (h->phase == IN_TRAILERS)
        return used + feed_trailers(h, p + used, n - used, ev);
    if (h->piece.n) {
        ev->type = RL_HTTP_BODY;
        ev->body = h->piece;
    } else if (h->body_seen) {
        h->phase = COMPLETE;
        ev->type = RL_HTTP_DONE;
    }
    return used;
}

bool rl_http_limit_body(rl_http *h, uint64_t max_body)
{
    if (h->head.content_length > max_body || h->body > max_body)
        return false;
    h->limits.max_body = max_body;
    return true;
}

size_t rl_http_feed(rl_http *h, const char *p, size_t n, rl_http_event *ev)
{
    *ev = (rl_http_event){.type = RL_HTTP_NONE};
    if (n == 0)
        p = "";

    switch (h->phase) {
    case IN_HEAD:
        return feed_head(h, p, n, ev);
    case IN_BODY:
        return feed_body(h, p, n, ev);
    case IN_TRAILERS:
        return feed_trailers(h, p, n, ev);
    case COMPLETE:
        return 0;
    case BROKEN:
        break;
    }
    return n;
}
