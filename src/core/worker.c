#include "core/worker.h"

#include "core/channels.h"
#include "core/consumer.h"
#include "core/names.h"

#include <stdio.h>
#include <sys/random.h>

static void on_request(rl_server *s, rl_http_conn *hc)
{
    rl_consumer_open(RL_CONTAINER_OF(s, rl_worker, server), hc);
}

/* 1000 to 1015 have a counter each, of the application's own there are too many. */
static unsigned close_class(int code)
{
    if (code >= 4000)
        return 17;
    return code >= 3000 ? 16 : code >= 1000 && code <= 1015 ? (unsigned)code - 1000 : 6;
}

static void on_access(rl_server *s, void *owner, rl_access *a)
{
    rl_worker *w = RL_CONTAINER_OF(s, rl_worker, server);
    rl_consumer *c = owner;

    if (c)
        a->peer = c->peer;
    if (a->head)
        rl_route_count_request(w->routes.at[c ? c->route : 0], rl_http_method(a->head), a->status);
    else
        w->close_codes[close_class(a->status)]++;
    if (!s->access_log || (c && c->unlogged))
        return;
    rl_names_tell(w, c);
    rl_access_log(a);
    rl_names_tell(w, NULL);
}

static const rl_server_events server_events = {.on_request = on_request, .on_access = on_access};

static bool run_turn(rl_hook *hook)
{
    return rl_consumer_run_stirred(RL_CONTAINER_OF(hook, rl_worker, hook));
}

static rl_channel *find_channel(rl_layer *layer, rl_str name)
{
    return rl_worker_channel(RL_CONTAINER_OF(layer, rl_worker, layer), name);
}

enum { SWEEP_EVERY = 5000 }; /* ms */

static void on_sweep(rl_timeout *t)
{
    rl_worker *w = RL_CONTAINER_OF(t, rl_worker, sweep);

    rl_history_sweep(w->crew->history, rl_loop_now(&w->loop));
    rl_timeout_start(&w->sweeps, t);
}

void rl_worker_keep(rl_worker *w, rl_rule *rules, unsigned n)
{
    rl_layer_set_rules(&w->layer, rules, n);
    if (n)
        rl_timeout_start(&w->sweeps, &w->sweep);
    else
        rl_timeout_stop(&w->sweep);
}

static void name_channel(rl_layer *layer, void *owner, char out[RL_LAYER_NAME_MAX + 1])
{
    const rl_consumer *c = owner;

    snprintf(out, RL_LAYER_NAME_MAX + 1, "%s%.0f", layer->prefix, c->id);
}

static void release_places(rl_worker *w, uint16_t *places, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        rl_server_release(&w->server, places[i]);
    rl_free(places);
}

static void forget_generation(rl_generations *gs, rl_generation *g)
{
    release_places(RL_CONTAINER_OF(gs, rl_worker, generations), g->places, g->nplaces);
}

int rl_worker_init(rl_worker *w, rl_crew *crew, unsigned index, const rl_vm_opts *vm, rl_err *err)
{
    *w = (rl_worker){.crew = crew, .index = index, .memory = RL_SLAB_OF(rl_consumer)};
    for (int i = 0; i < RL_ENTRY_COUNT; i++)
        w->entries[i] = LUA_NOREF;
    if (getrandom(w->seeds, sizeof(w->seeds), 0) != sizeof(w->seeds))
        w->seeds[0] = (uint64_t)(uintptr_t)w;
    rl_retired_init(&w->retired);
    rl_list_init(&w->stirred);
    rl_list_init(&w->tasks);
    rl_list_init(&w->named);
    rl_list_init(&w->services);
    rl_list_init(&w->witnesses);
    rl_outside_init(&w->outside);
    rl_generations_init(&w->generations, forget_generation);

    int rc = rl_loop_init(&w->loop);
    if (rc < 0)
        return rl_err_set(err, rc, "no event loop: %s", uv_strerror(rc));
    /* In the order of a turn: what waits in mailboxes, then tasks. */
    rl_loop_add_hook(&w->loop, RL_PHASE_RUN, &w->hook, run_turn);
    rc = rl_vm_init(&w->vm, &w->loop, vm, err);
    if (rc < 0)
        goto fail_loop;
    rc = rl_conns_init(&w->conns, &w->loop);
    if (rc < 0) {
        rl_err_set(err, rc, "no poller: %s", uv_strerror(rc));
        goto fail_vm;
    }
    w->conns.tally.everywhere = &crew->connections;
    rl_server_init(&w->server, &w->conns, &server_events);
    rl_layer_init(&w->layer);
    w->layer.find = find_channel;
    w->layer.history = crew->history;
    w->layer.name = name_channel;
    rl_exchange_enter(crew->exchange, &w->layer, &w->loop);
    rl_routes_init(&w->routes);
    rl_timeouts_open(&w->graces, &w->loop, 0, rl_consumer_on_grace);
    rl_timeouts_open(&w->sweeps, &w->loop, SWEEP_EVERY, on_sweep);
    rl_timeout_init(&w->sweep);
    rl_worker_configure(w, &(rl_worker_limits){.abandon_grace = 2000},
                        &(rl_server_limits){.write_high_water = RL_CONN_HIGH_WATER},
                        &(rl_limits){.mailbox = 100, .pong_timeout = 1000}, 1);
    crew->workers[index] = w;
    return 0;

fail_vm:
    rl_vm_fini(&w->vm);
fail_loop:
    rl_generations_fini(&w->generations);
    rl_loop_remove_hook(&w->hook);
    rl_loop_fini(&w->loop);
    return rc;
}

void rl_worker_configure(rl_worker *w, const rl_worker_limits *limits,
                         const rl_server_limits *server, const rl_limits *sets, unsigned n)
{
    w->limits = *limits;
    w->graces.after = limits->abandon_grace;
    uint16_t *places = rl_calloc(n, sizeof(*places));
    rl_server_configure(&w->server, server, sets, n, places);
    release_places(w, w->places, w->nplaces);
    w->places = places;
    w->nplaces = n;
}

void rl_worker_change(rl_worker *w, unsigned serving, unsigned before)
{
    rl_generations_change(&w->generations, serving, before);
    rl_generation *g = w->generations.serving;
    uint16_t *places = rl_calloc(w->nplaces, sizeof(*places));

    for (unsigned i = 0; i < w->nplaces; i++)
        rl_server_hold(&w->server, places[i] = w->places[i]);
    release_places(w, g->places, g->nplaces);
    g->places = places;
    g->nplaces = w->nplaces;
}

/* Downwards: first what could still call Lua, then Lua, then the loop. */
void rl_worker_fini(rl_worker *w)
{
    RL_CHECK(w->roster.count == 0 && w->ndbs == 0);
    rl_generations_fini(&w->generations);
    rl_server_fini(&w->server);
    rl_timeouts_close(&w->graces);
    rl_timeout_stop(&w->sweep);
    rl_timeouts_close(&w->sweeps);
    while (w->nbeats)
        rl_timeouts_close(&w->beats[--w->nbeats]);
    rl_conns_fini(&w->conns);
    rl_vm_fini(&w->vm);
    rl_named_close_all(w);
    rl_exchange_leave(&w->layer);
    rl_layer_fini(&w->layer);
    rl_routes_fini(&w->routes);
    rl_meters_fini(&w->meters);
    rl_loop_remove_hook(&w->hook);
    rl_roster_fini(&w->roster);
    rl_slab_fini(&w->memory);
    rl_free(w->places);
    rl_loop_fini(&w->loop);
}

static void on_accept(void *arg, int fd, const rl_bound *from)
{
    rl_worker *w = arg;

    rl_crew_accept(w, fd, from);
}

int rl_worker_listen(rl_worker *w, const rl_bound *b, rl_err *err)
{
    if (w->nlisteners == RL_MAX_LISTENERS)
        return rl_err_set(err, -EMFILE, "more than %d addresses", RL_MAX_LISTENERS);
    if (b->proxied && rl_networks_empty(&w->server.trusted)) {
        close(b->fd);
        return rl_err_set(err, -EINVAL,
                          "an address has the option proxy, but trusted_proxies names nobody: all "
                          "would be refused (want --trusted-proxy)");
    }
    int rc = rl_listener_open(&w->listeners[w->nlisteners], &w->loop, b, on_accept, w, err);
    if (rc == 0)
        w->nlisteners++;
    return rc;
}

static void part(rl_worker *w, rl_consumer *c)
{
    rl_consumer_leave(c, w->farewell.code, rl_worker_farewell(w));
}

rl_str rl_worker_farewell(const rl_worker *w)
{
    return w->farewell.code == 1012 ? RL_STR("the server restarts")
                                    : RL_STR("the server is going away");
}

void rl_worker_drain(rl_worker *w, const rl_farewell *farewell)
{
    if (w->draining)
        return;
    w->draining = true;
    w->farewell = *farewell;
    w->drained_from = rl_loop_now(&w->loop);
    w->to_drain = w->roster.count;
    while (w->nlisteners)
        rl_listener_close(w->listeners[--w->nlisteners]);
    rl_server_drain(&w->server);
    rl_worker_drain_on(w);
}

/* As many as are due by now; in the end all, also those who came meanwhile. */
void rl_worker_drain_on(rl_worker *w)
{
    uint64_t gone = rl_loop_now(&w->loop) - w->drained_from, spread = w->farewell.spread;
    uint32_t at = 0;
    rl_consumer *c;

    if (gone >= spread) {
        while ((c = rl_roster_next(&w->roster, &at)))
            part(w, c);
        return;
    }
    for (; w->drained < w->to_drain * gone / spread; w->drained++)
        if ((c = rl_roster_next(&w->roster, &w->drained_to)))
            part(w, c);
}

bool rl_worker_is_idle(const rl_worker *w)
{
    unsigned services = 0;

    RL_LIST_EACH (it, &w->services)
        services++;
    return w->roster.count == 0 && w->vm.ntasks == services && w->conns.count == 0 &&
           w->dbs_closing == 0;
}

static void cancel_all(rl_list *tasks)
{
    RL_LIST_EACH (it, tasks)
        rl_task_cancel(RL_LIST_ENTRY(it, rl_task, owned));
}

void rl_worker_cancel_tasks(rl_worker *w)
{
    cancel_all(&w->tasks);
}

void rl_worker_cancel_services(rl_worker *w)
{
    cancel_all(&w->services);
}

void rl_worker_abort(rl_worker *w)
{
    uint32_t at = 0;
    rl_consumer *c;

    w->vm.merciless = true;
    while ((c = rl_roster_next(&w->roster, &at)))
        rl_consumer_abort(c);
    rl_server_abort(&w->server);
    rl_conns_abort(&w->conns);
    rl_worker_cancel_tasks(w);
    rl_worker_cancel_services(w);
}
