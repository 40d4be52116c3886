/* http_lines.h - the lines of a head, before anybody reads what is in them: their ends, what may
 * not be in them, how long they are, and where the head ends (RFC 9112 sections 2.2, 3 and 5).
 *
 * A scanner that is given a head in any pieces. It knows nothing of what a header means. Trailers
 * are lines, too, of which none is a request line: begin with line = 1. */
#ifndef RL_PROTO_HTTP_LINES_H
#define RL_PROTO_HTTP_LINES_H

#include "proto/http.h"

typedef struct rl_http_lines {
    size_t used;    /* bytes of the head so far */
    size_t target;  /* bytes of the target so far */
    size_t column;  /* in the current line */
    size_t line;    /* 0: the request line, or an empty one before it */
    uint8_t last;   /* the byte before */
    uint8_t spaces; /* in the request line */
    uint8_t name;   /* bytes of "HTTP/" seen there */
    bool ended;     /* the empty line behind the head was met */
} rl_http_lines;    /* zeroed: at the beginning */

/* How many of p[0..n) belong to the head and are fit to be parsed; no more than max_head in all.
 * What is wrong with the byte behind them is in *status (400, 414 or 431) and *why; 0 and NULL:
 * nothing. */
size_t rl_http_lines_scan(rl_http_lines *l, const rl_http_limits *limits, const char *p, size_t n,
                          int *status, const char **why);

#endif
