/* url.h - the target of a request, cut into its parts and decoded.
 *
 * Cutting borrows and decodes nothing: the raw path stays at hand. Decoding is strict:
 * a `%` without two hex digits is RL_ESYNTAX, what comes out must be UTF-8 (RL_EUTF8)
 * without NUL (RL_ESYNTAX). "." and ".." segments are left alone; whoever opens files
 * looks at them. */
#ifndef RL_PROTO_URL_H
#define RL_PROTO_URL_H

#include "base/buf.h"
#include "base/err.h"

typedef struct rl_url {
    rl_str authority; /* host and port; p is NULL unless the target was a whole URL */
    rl_str path;      /* raw: "*", or beginning with a slash */
    rl_str query;     /* raw, without the question mark; p is NULL without one */
} rl_url;

/* Take "/path?query", "http://host/path?query" (https too) or "*"; anything else is
 * RL_ESYNTAX, and so is a fragment. The slices are of `target`, or static. */
int rl_url_split(rl_url *out, rl_str target, rl_err *err) RL_MUST_USE;

/* host[:port], the host a name or an address, without a user. RFC 3986 allows a comma in a name; here
 * it is refused, for it is what a proxy makes of two of them. */
bool rl_url_authority_valid(rl_str s);

/* Append the decoded path to out. On failure out is as before. */
int rl_url_decode_path(rl_buf *out, rl_str raw, rl_err *err) RL_MUST_USE;

/* The next pair of a query or a form body ("a=1&b=x+y"), cut off the front of *rest.
 * 1: key and value are slices of *scratch, whose former content they replace, valid
 * until it changes; a pair without "=" has the value "". 0: there are no more. Negative:
 * this pair cannot be decoded; the ones behind it can still be asked for. */
int rl_url_form_next(rl_str *rest, rl_buf *scratch, rl_str *key, rl_str *value,
                     rl_err *err) RL_MUST_USE;

#endif
