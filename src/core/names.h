/* names.h - what a request is called: its id, its trace, and what the log says of it.
 *
 * A client may name its request (X-Request-Id, when it is one that a log can hold) and say which
 * trace it belongs to (traceparent, W3C Trace Context); these are kept. Otherwise both are made
 * when somebody asks, of the worker's random numbers and the consumer's own number, and are the
 * same whenever they are asked for: a consumer that nobody asks carries nothing. */
#ifndef RL_CORE_NAMES_H
#define RL_CORE_NAMES_H

#include "base/log.h"
#include "core/consumer.h"
#include "proto/trace.h"

enum { RL_REQUEST_ID_SIZE = 129 }; /* with its NUL */

/* What the client gave, as far as it is any good. Of traceparent and tracestate only both, or the
 * first, or none. */
struct rl_given {
    char *request_id; /* NULL: none */
    char *tracestate; /* NULL: none */
    bool traced;      /* a traceparent came; if it was bad, trace.id is all zero and is made */
    rl_trace trace;
};

void rl_names_take(rl_consumer *c, const rl_http_head *head);
void rl_names_drop(rl_consumer *c);

/* out may be what is returned. */
const char *rl_names_request_id(const rl_consumer *c, char out[RL_REQUEST_ID_SIZE]);
/* Its trace, and in it this request's own span. */
void rl_names_trace(const rl_consumer *c, rl_trace *out);
const char *rl_names_tracestate(const rl_consumer *c); /* "": none */

/* The header that tells the client, unless the script has put one among its own. */
void rl_names_add_header(const rl_consumer *c, rl_str headers, rl_buf *out);

/* Have every line that this thread logs name the worker and the consumer that it is about: the one
 * whose task runs, or the one that is told about. */
void rl_names_log(rl_worker *w);
static inline void rl_names_tell(rl_worker *w, const rl_consumer *c) /* NULL: no more */
{
    w->told = c;
}

#endif
