/* http_write.h - the head of a response, piece by piece, into a buffer.
 *
 *     rl_http_write_status(&out, 200);
 *     rl_http_write_field(&out, RL_STR("content-type"), type, &err);
 *     rl_http_write_date(&out, now);
 *     rl_http_write_end(&out);
 *
 * What comes from a script passes rl_http_write_field(), which refuses what would end
 * the line or the head early: that is how responses are split. */
#ifndef RL_PROTO_HTTP_WRITE_H
#define RL_PROTO_HTTP_WRITE_H

#include "base/buf.h"
#include "base/err.h"

#include <time.h>

#define RL_HTTP_DATE_LEN 29 /* "Sun, 06 Nov 1994 08:49:37 GMT" */

const char *rl_http_reason(int status); /* "" when it has no name we know */

void rl_http_write_status(rl_buf *out, int status); /* HTTP/1.1 and the reason; 100 to 999 */

/* Append "name: value". RL_ESYNTAX, and nothing written, when the name is not a token or
 * the value holds control characters other than tab. */
int rl_http_write_field(rl_buf *out, rl_str name, rl_str value, rl_err *err) RL_MUST_USE;

void rl_http_write_number(rl_buf *out, const char *name, uint64_t value);
void rl_http_write_date(rl_buf *out, time_t now); /* the Date header */
void rl_http_write_end(rl_buf *out);              /* the empty line */

/* A time as HTTP writes it (RFC 9110 section 5.6.7), with a NUL; years 0 to 9999. */
void rl_http_date(char out[RL_HTTP_DATE_LEN + 1], time_t t);

#endif
