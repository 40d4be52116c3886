#include "core/route.h"

#include <string.h>

const char *const rl_occasion_names[RL_OCCASIONS] = {
    [RL_OCCASION_OPEN] = "open",
    [RL_OCCASION_RECEIVE] = "receive",
    [RL_OCCASION_MESSAGE] = "message",
    [RL_OCCASION_SOURCE] = "source",
    [RL_OCCASION_DISCONNECT] = "disconnect",
};

const char *const rl_method_names[RL_METHODS] = {
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other",
};

static rl_route *new_route(rl_str kind, rl_str pattern, rl_str consumer)
{
    rl_route *r = rl_calloc(1, sizeof(*r));

    r->kind = rl_strndup(kind.p, kind.n);
    r->pattern = rl_strndup(pattern.p, pattern.n);
    r->consumer = rl_strndup(consumer.p, consumer.n);
    return r;
}

void rl_routes_init(rl_routes *rs)
{
    *rs = (rl_routes){0};
    rl_routes_add(rs, RL_STR(""), RL_STR(""), RL_STR(""));
}

void rl_route_fini(rl_route *r)
{
    rl_free(r->kind);
    rl_free(r->pattern);
    rl_free(r->consumer);
}

void rl_routes_fini(rl_routes *rs)
{
    for (unsigned i = 0; i < rs->n; i++) {
        rl_route_fini(rs->at[i]);
        rl_free(rs->at[i]);
    }
    rl_free(rs->at);
    *rs = (rl_routes){0};
}

static bool is(const char *s, rl_str t)
{
    return rl_str_eq(rl_str_of(s), t);
}

unsigned rl_routes_add(rl_routes *rs, rl_str kind, rl_str pattern, rl_str consumer)
{
    for (unsigned i = 0; i < rs->n; i++) {
        rl_route *r = rs->at[i];
        if (!is(r->kind, kind) || !is(r->pattern, pattern))
            continue;
        if (!is(r->consumer, consumer)) {
            rl_free(r->consumer);
            r->consumer = rl_strndup(consumer.p, consumer.n);
        }
        return i;
    }
    if (rs->n == RL_MAX_ROUTES)
        return 0;
    rs->at = rl_realloc(rs->at, (rs->n + 1) * sizeof(*rs->at));
    rs->at[rs->n] = new_route(kind, pattern, consumer);
    return rs->n++;
}

void rl_route_count_request(rl_route *r, rl_str method, int status)
{
    unsigned m = 0, class = (unsigned)status / 100;

    while (m < RL_METHODS - 1 && !is(rl_method_names[m], method))
        m++;
    if (class >= 1 && class <= RL_STATUS_CLASSES)
        r->requests[m][class - 1]++;
}

void rl_route_copy(rl_route *to, const rl_route *from)
{
    *to = *from;
    to->kind = rl_strdup(from->kind);
    to->pattern = rl_strdup(from->pattern);
    to->consumer = rl_strdup(from->consumer);
}

void rl_route_merge(rl_route *to, const rl_route *from)
{
    for (unsigned m = 0; m < RL_METHODS; m++)
        for (unsigned s = 0; s < RL_STATUS_CLASSES; s++)
            to->requests[m][s] += from->requests[m][s];
    for (unsigned i = 0; i < RL_OCCASIONS; i++) {
        to->events[i] += from->events[i];
        rl_histogram_merge(&to->took[i], &from->took[i]);
    }
    to->failed += from->failed;
    rl_histogram_merge(&to->waited, &from->waited);
}
