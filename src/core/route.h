/* route.h - what is counted per route: requests, events and how long they took.
 *
 * Routes are the script's, so there are not many of them: the table gives each a number, once for
 * all generations of the code. What has no route (a path that leads nowhere, a malformed head) is
 * counted under number 0, and so is what a script has beyond RL_MAX_ROUTES.
 *
 * The clock is not read for every event. One event in RL_ROUTE_SAMPLE is measured with a clock of
 * nanoseconds and stands for as many; and an event that began in an earlier millisecond of the
 * loop's clock than it ended in, which is read once a turn anyway, is measured with that, each of
 * them, to a millisecond. So what is slow is never missed, unless it is a handler that computes
 * without waiting, whose turn is in rille_loop_stall_seconds. */
#ifndef RL_CORE_ROUTE_H
#define RL_CORE_ROUTE_H

#include "base/histogram.h"
#include "base/str.h"

enum { RL_MAX_ROUTES = 1000, RL_ROUTE_SAMPLE = 16 };

typedef enum rl_occasion {
    RL_OCCASION_OPEN, /* connect, handle, or a function's whole run */
    RL_OCCASION_RECEIVE,
    RL_OCCASION_MESSAGE, /* of the layer */
    RL_OCCASION_SOURCE,  /* notify and the like */
    RL_OCCASION_DISCONNECT,
    RL_OCCASIONS,
} rl_occasion;

extern const char *const rl_occasion_names[RL_OCCASIONS];

enum { RL_METHODS = 8, RL_STATUS_CLASSES = 5 };
extern const char *const rl_method_names[RL_METHODS]; /* the last is "other" */

typedef struct rl_route {
    char *kind;     /* "http", "websocket", "notify", …; of number 0 "" */
    char *pattern;  /* or the channel; of number 0 "" */
    char *consumer; /* the class, "" for a function */
    uint64_t requests[RL_METHODS][RL_STATUS_CLASSES];
    uint64_t events[RL_OCCASIONS];
    uint64_t failed; /* handlers that raised */
    rl_histogram took[RL_OCCASIONS];
    rl_histogram waited; /* of those that stood in a mailbox: how long, to a millisecond */
} rl_route;

typedef struct rl_routes {
    rl_route **at;
    unsigned n;
    unsigned events; /* for the sample */
} rl_routes;

void rl_routes_init(rl_routes *rs);
void rl_routes_fini(rl_routes *rs);
/* Its number; a new one when kind and pattern are. The consumer's name is the latest. */
unsigned rl_routes_add(rl_routes *rs, rl_str kind, rl_str pattern, rl_str consumer);
void rl_route_count_request(rl_route *r, rl_str method, int status);

/* For whoever shows them: a copy of its own, and the sums of two. */
void rl_route_copy(rl_route *to, const rl_route *from);
void rl_route_merge(rl_route *to, const rl_route *from);
void rl_route_fini(rl_route *r);

#endif
