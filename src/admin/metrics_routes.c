/* metrics_routes.c - requests, events and their times, by route. */
#include "admin/metrics_page.h"

#include "base/exposition.h"

#include <string.h>

static rl_route *merge_routes(const rl_metrics_page *p, unsigned *n)
{
    rl_route *all = NULL;

    *n = 0;
    for (unsigned w = 0; w < p->n; w++)
        for (unsigned i = 0; i < p->workers[w].nroutes; i++) {
            const rl_route *r = &p->workers[w].routes[i];
            unsigned at = 0;
            while (at < *n &&
                   (strcmp(all[at].kind, r->kind) || strcmp(all[at].pattern, r->pattern)))
                at++;
            if (at < *n) {
                rl_route_merge(&all[at], r);
                continue;
            }
            all = rl_realloc(all, (*n + 1) * sizeof(*all));
            rl_route_copy(&all[(*n)++], r);
        }
    return all;
}

static void add_route(rl_buf *out, const rl_route *r)
{
    rl_exposition_label(out, "kind", rl_str_of(r->kind));
    rl_exposition_label(out, "route", rl_str_of(r->pattern));
}

static void write_requests(rl_buf *out, const rl_route *routes, unsigned n)
{
    static const char name[] = "rille_http_requests_total";

    rl_exposition_family(out, name, "counter",
                         "Requests answered, by route, method and class of status.");
    for (unsigned i = 0; i < n; i++)
        for (unsigned m = 0; m < RL_METHODS; m++)
            for (unsigned s = 0; s < RL_STATUS_CLASSES; s++) {
                uint64_t count = routes[i].requests[m][s];
                char class[4] = {(char)('1' + s), 'x', 'x', 0};
                if (!count)
                    continue;
                rl_exposition_begin(out, name, "");
                add_route(out, &routes[i]);
                rl_exposition_label(out, "method", rl_str_of(rl_method_names[m]));
                rl_exposition_label(out, "status", rl_str_of(class));
                rl_exposition_end(out, (double)count);
            }
}

static void write_events(rl_buf *out, const rl_route *routes, unsigned n)
{
    static const char name[] = "rille_events_total";

    rl_exposition_family(out, name, "counter", "Events handled, by route and kind of event.");
    for (unsigned i = 0; i < n; i++)
        for (unsigned e = 0; e < RL_OCCASIONS; e++) {
            if (!routes[i].events[e])
                continue;
            rl_exposition_begin(out, name, "");
            add_route(out, &routes[i]);
            rl_exposition_label(out, "event", rl_str_of(rl_occasion_names[e]));
            rl_exposition_end(out, (double)routes[i].events[e]);
        }

    rl_exposition_family(out, "rille_handler_errors_total", "counter", "Handlers that raised.");
    for (unsigned i = 0; i < n; i++) {
        rl_exposition_begin(out, "rille_handler_errors_total", "");
        add_route(out, &routes[i]);
        rl_exposition_end(out, (double)routes[i].failed);
    }
}

static void write_times(rl_buf *out, const rl_route *routes, unsigned n)
{
    static const char took[] = "rille_event_seconds", waited[] = "rille_event_wait_seconds";
    rl_buf labels = {0};

    rl_exposition_family(out, took, "histogram",
                         "From an event's begin to its end; short ones are a sample, weighted.");
    for (unsigned i = 0; i < n; i++)
        for (unsigned e = 0; e < RL_OCCASIONS; e++) {
            if (!routes[i].took[e].count)
                continue;
            rl_buf_clear(&labels);
            add_route(&labels, &routes[i]);
            rl_exposition_label(&labels, "event", rl_str_of(rl_occasion_names[e]));
            rl_exposition_histogram(out, took, rl_buf_str(&labels), &routes[i].took[e]);
        }

    rl_exposition_family(out, waited, "histogram",
                         "How long events stood in a mailbox, of those that had to.");
    for (unsigned i = 0; i < n; i++) {
        if (!routes[i].waited.count)
            continue;
        rl_buf_clear(&labels);
        add_route(&labels, &routes[i]);
        rl_exposition_histogram(out, waited, rl_buf_str(&labels), &routes[i].waited);
    }
    rl_buf_fini(&labels);
}

void rl_metrics_routes(const rl_metrics_page *p)
{
    unsigned n;
    rl_route *routes = merge_routes(p, &n);

    write_requests(p->out, routes, n);
    write_events(p->out, routes, n);
    write_times(p->out, routes, n);
    for (unsigned i = 0; i < n; i++)
        rl_route_fini(&routes[i]);
    rl_free(routes);
}
