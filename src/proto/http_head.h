/* http_head.h - the head of a request, once parsed: flat, owned, and no parser's.
 *
 * Names are in lower case, values without the space around them, both in the order
 * they came, repeated ones included. The strings lie back to back in one buffer and
 * are found by offsets, so a head may be moved by assignment; slices of it are valid
 * until it is cleared. A zeroed struct is an empty head. */
#ifndef RL_PROTO_HTTP_HEAD_H
#define RL_PROTO_HTTP_HEAD_H

#include "base/buf.h"

typedef struct rl_http_head {
    rl_buf bytes;            /* method, target, name, value, name, value, … */
    rl_buf fields;           /* where each header lies */
    uint32_t method;         /* length; it is at 0 */
    uint32_t target;         /* length; it is behind the method */
    uint8_t minor;           /* of HTTP/1.x: 0 or 1 */
    bool keep_alive;         /* the peer would send another request on this connection */
    bool upgrade;            /* it names another protocol in Upgrade, and Connection says so */
    bool expect_continue;    /* it waits for a 100 before it sends the body */
    bool chunked;            /* a body of unknown length follows */
    uint64_t content_length; /* of the body, 0 without one; 0 while chunked */
} rl_http_head;

typedef struct rl_http_field {
    rl_str name;
    rl_str value;
} rl_http_field;

void rl_http_head_fini(rl_http_head *head);
void rl_http_head_clear(rl_http_head *head); /* empty; keeps the memory */

static inline rl_str rl_http_method(const rl_http_head *head)
{
    return (rl_str){rl_buf_str(&head->bytes).p, head->method};
}

static inline rl_str rl_http_target(const rl_http_head *head) /* raw */
{
    return (rl_str){rl_buf_str(&head->bytes).p + head->method, head->target};
}

size_t rl_http_field_count(const rl_http_head *head);
rl_http_field rl_http_field_at(const rl_http_head *head, size_t i); /* i < count */

/* Names are given in lower case. */
bool rl_http_field_get(const rl_http_head *head, rl_str name, rl_str *value); /* the first */
size_t rl_http_field_times(const rl_http_head *head, rl_str name); /* how often it is there */

/* Does a header of this name, repeated or not, list the token (RFC 9110 section 5.6.1)? */
bool rl_http_field_lists(const rl_http_head *head, rl_str name, rl_str token);

/* Building one, in this order; each may be called repeatedly with the pieces of a string.
 * The end of a value is told by rl_http_put_end(), which trims it. */
void rl_http_put_method(rl_http_head *head, rl_str piece);
void rl_http_put_target(rl_http_head *head, rl_str piece);
void rl_http_put_field(rl_http_head *head); /* a new header begins */
void rl_http_put_name(rl_http_head *head, rl_str piece);
void rl_http_put_value(rl_http_head *head, rl_str piece);
void rl_http_put_end(rl_http_head *head);

#endif
