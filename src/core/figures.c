#include "core/figures.h"

#include "core/consumer.h"

#include <string.h>

/* A walk, so that nobody has to keep count. */
static void count_consumers(rl_worker *w, rl_figures *f)
{
    uint32_t at = 0;
    rl_consumer *c;

    while ((c = rl_roster_next(&w->roster, &at))) {
        f->alive[c->route]++;
        if (c->kind == RL_CONSUMER_BACKGROUND)
            f->background++;
        else if (c->ws)
            f->websockets++;
        else
            f->requests++;
        if (c->ws)
            f->unsent += rl_ws_conn_unsent(c->ws);
        else if (c->http)
            f->unsent += rl_conn_pending(rl_http_conn_stream(c->http));
    }
}

static void copy_databases(rl_worker *w, rl_figures *f)
{
    f->dbs = rl_calloc(w->ndbs, sizeof(*f->dbs));
    for (unsigned i = 0; i < w->ndbs; i++) {
        if (!w->dbs[i])
            continue;
        rl_db_figures *d = &f->dbs[f->ndbs++];
        d->name = rl_strdup(rl_db_name(w->dbs[i]));
        rl_db_stats_of(w->dbs[i], &d->stats);
    }
}

static void copy_routes(rl_worker *w, rl_figures *f)
{
    f->nroutes = w->routes.n;
    f->routes = rl_calloc(f->nroutes, sizeof(*f->routes));
    f->alive = rl_calloc(f->nroutes, sizeof(*f->alive));
    for (unsigned i = 0; i < f->nroutes; i++)
        rl_route_copy(&f->routes[i], w->routes.at[i]);
}

static void copy_generations(rl_worker *w, rl_figures *f)
{
    const rl_generations *gs = &w->generations;

    f->generations = rl_calloc(gs->n, sizeof(*f->generations));
    for (unsigned i = 0; i < gs->n; i++)
        if (gs->at[i]->number)
            f->generations[f->ngenerations++] = *gs->at[i];
}

void rl_figures_of(rl_worker *w, rl_figures *f)
{
    *f = (rl_figures){
        .there = true,
        .worker = w->index,
        .generation = w->generations.serving->number,
        .counters = w->loop.counters,
        .connections = w->conns.count,
        .tasks = w->vm.ntasks,
        .channels = w->layer.nchannels,
        .groups = w->layer.groups.len,
        .bytes_in = w->conns.received,
        .bytes_out = w->conns.delivered,
        .messages_in = w->server.messages_in,
        .messages_out = w->server.messages_out,
        .deflated = w->server.deflate.deflated,
        .inflated = w->server.deflate.inflated,
        .deflate_streams = w->server.deflate.streams,
        .delivered = w->layer.delivered,
        .dropped = w->layer.dropped,
        .outside = w->outside.figures,
        .events_dropped = w->dropped,
        .mqtt = w->past_brokers,
        .lua_bytes = w->vm.used,
        .lua_limit = w->vm.limit,
        .turns = w->loop.turns,
        .stalls = w->loop.stalls,
    };
    memcpy(f->close_codes, w->close_codes, sizeof(f->close_codes));
    for (unsigned i = 0; i < RL_MAX_BROKERS; i++)
        if (w->brokers[i])
            rl_broker_stats_of(w->brokers[i], &f->mqtt);
    copy_databases(w, f);
    copy_routes(w, f);
    count_consumers(w, f);
    rl_meters_copy(&f->meters, &w->meters);
    copy_generations(w, f);
}

void rl_figures_fini(rl_figures *f)
{
    for (unsigned i = 0; i < f->ndbs; i++)
        rl_free(f->dbs[i].name);
    for (unsigned i = 0; i < f->nroutes; i++)
        rl_route_fini(&f->routes[i]);
    rl_free(f->dbs);
    rl_free(f->routes);
    rl_free(f->alive);
    rl_meters_fini(&f->meters);
    rl_free(f->generations);
    *f = (rl_figures){0};
}
