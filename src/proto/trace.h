/* trace.h - W3C Trace Context, level 1: whose request this is part of.
 *
 *     traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
 *                  version, trace, the caller's span, flags
 *
 * Versions to come are read as far as version 00 goes, as the recommendation says. */
#ifndef RL_PROTO_TRACE_H
#define RL_PROTO_TRACE_H

#include "base/str.h"

#define RL_TRACE_ID_LEN     32
#define RL_TRACE_SPAN_LEN   16
#define RL_TRACE_PARENT_LEN 55
#define RL_TRACE_STATE_MAX  512 /* bytes that must be passed on; what is longer is dropped */

typedef struct rl_trace {
    char id[RL_TRACE_ID_LEN + 1];     /* hexadecimal, lower case, never all zero */
    char span[RL_TRACE_SPAN_LEN + 1]; /* likewise */
    uint8_t flags;                    /* 1: sampled */
} rl_trace;

/* False, and *out untouched, when it is not one: begin a trace, and drop the tracestate. */
bool rl_trace_parse(rl_trace *out, rl_str traceparent);

/* A trace, or its span, of random numbers; a zero becomes something else. */
void rl_trace_make_id(rl_trace *t, uint64_t high, uint64_t low);
void rl_trace_make_span(rl_trace *t, uint64_t n);

/* As a header, with a NUL. Of the flags, only those that version 00 knows are passed on. */
void rl_trace_text(const rl_trace *t, char out[RL_TRACE_PARENT_LEN + 1]);

/* May this tracestate be passed on: printable, not too long, at most 32 members? */
bool rl_trace_state_valid(rl_str tracestate);

/* May a client give its request this name (X-Request-Id)? 1 to 128 bytes of letters, digits and
 * the characters _ - . ~ + / = : @ ; nothing that could be taken for something else in a log. */
bool rl_trace_request_id_valid(rl_str id);

#endif
