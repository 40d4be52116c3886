/* A database, from its URL to its end. */
#include "db/pool.h"

#include <limits.h>

enum { RETIRED_IDLE = 1000 }; /* ms */

static const rl_driver *driver_for(const char *url, const char **rest)
{
    static const struct {
        const char *scheme;
        const rl_driver *driver;
        bool whole; /* the driver reads the scheme too */
    } known[] = {
        {"postgresql://", &rl_driver_pg, true},
        {"postgres://", &rl_driver_pg, true},
        {"sqlite:", &rl_driver_sqlite, false},
    };

    for (size_t i = 0; i < RL_COUNT(known); i++) {
        size_t n = strlen(known[i].scheme);
        if (strncmp(url, known[i].scheme, n) == 0) {
            *rest = known[i].whole ? url : url + n;
            return known[i].driver;
        }
    }
    return NULL;
}

/* Those who do not share must not starve. */
static void settle_sharing(rl_db *db)
{
    unsigned half = db->set.max_connections / 2, *shared = &db->set.shared_connections;

    if (!db->driver->batch || db->set.pgbouncer || db->set.conn_max_age == 0)
        *shared = 0;
    else if (*shared > half)
        *shared = *shared == UINT_MAX && half > 2 ? 2 : half;
}

static const char *name_of(const rl_db_opts *opts)
{
    return opts->name ? opts->name : "default";
}

/* The driver, its conf and display, and the settings of a db that is zeroed. */
static int configure(rl_db *db, const rl_db_opts *opts, rl_err *err)
{
    const char *rest;
    char *url;
    rl_err why = {0};

    if (!opts->url || !driver_for(opts->url, &rest))
        return rl_err_set(err, RL_EPROGRAMMING,
                          "database %s: its URL must begin with "
                          "postgresql: or sqlite:",
                          name_of(opts));
    int rc = rl_db_settings_read(&db->set, &url, opts, &why);
    if (rc == 0) {
        db->driver = driver_for(url, &rest);
        rc = db->driver->config(&db->conf, &db->display, rest, &db->set, &why);
        rl_free(url);
    }
    return rc < 0 ? rl_err_set(err, why.code, "database %s: %s", name_of(opts), why.msg) : 0;
}

int rl_db_check_opts(const rl_db_opts *opts, rl_err *err)
{
    rl_db db = {0};
    int rc = configure(&db, opts, err);

    if (rc < 0)
        return rc;
    db.driver->config_free(db.conf);
    rl_free(db.display);
    return 0;
}

int rl_db_open(rl_db **out, rl_loop *loop, const rl_db_opts *opts, rl_err *err)
{
    rl_db *db = rl_calloc(1, sizeof(*db));
    int rc = configure(db, opts, err);

    if (rc < 0) {
        rl_free(db);
        return rc;
    }
    if (db->set.max_connections == 0)
        db->set.max_connections = 10;
    if (db->set.min_connections > db->set.max_connections)
        db->set.min_connections = db->set.max_connections;
    settle_sharing(db);
    db->loop = loop;
    db->queries = (rl_slab)RL_SLAB_OF(rl_query);
    db->name = rl_strdup(name_of(opts));
    db->due = db->timer_at = RL_DB_NEVER;
    db->random = rl_clock_ns() ^ (uintptr_t)db ^ 0x9e3779b97f4a7c15u;
    for (int i = 0; i < NSTATES; i++)
        rl_list_init(&db->in[i]);
    rl_list_init(&db->waiting);
    rl_list_init(&db->reads);
    rl_list_init(&db->answers);
    rl_list_init(&db->leases);
    uv_timer_init(&loop->uv, &db->timer);
    db->timer.data = db;
    rl_loop_add_hook(loop, RL_PHASE_ASK, &db->hook, rl_requests_deliver);
    *out = db;
    return 0;
}

static void free_db(uv_handle_t *timer)
{
    rl_db *db = timer->data;

    db->driver->config_free(db->conf);
    rl_paces_fini(&db->paces);
    rl_texts_fini(&db->texts);
    rl_map_fini(&db->unfit);
    rl_slab_fini(&db->queries);
    rl_free(db->name);
    rl_free(db->display);
    rl_free(db->stage_gone);
    db->closed_fn(db->closed_arg);
    rl_free(db);
}

void rl_db_close_if_over(rl_db *db)
{
    if (!db->closing || db->closed || db->slots || db->ear || !rl_list_empty(&db->answers))
        return;
    db->closed = true;
    RL_LIST_EACH (it, &db->leases) {
        rl_lease *lease = RL_LIST_ENTRY(it, rl_lease, link);
        rl_list_remove(it);
        lease->db = NULL;
    }
    rl_loop_remove_hook(&db->hook);
    uv_close((uv_handle_t *)&db->timer, free_db);
}

void rl_db_close(rl_db *db, double grace, rl_db_closed_fn *done, void *arg)
{
    rl_list *it;

    RL_CHECK(!db->closing);
    db->closing = true;
    db->closed_fn = done;
    db->closed_arg = arg;
    db->close_by = rl_pool_now() + (grace > 0 ? (uint64_t)(grace * 1000) : 0);
    while ((it = rl_list_first(&db->waiting)) || (it = rl_list_first(&db->reads))) {
        request *r = RL_LIST_ENTRY(it, request, link);
        rl_request_leave(r);
        rl_request_answer(r, rl_pool_err(RL_EOPERATIONAL, "database %s is closing", db->name));
    }
    static const slot_state unused[] = {DIALING, IDLE};
    for (size_t i = 0; i < RL_COUNT(unused); i++)
        RL_LIST_EACH (at, &db->in[unused[i]])
            rl_slot_close(RL_LIST_ENTRY(at, slot, link));
    rl_ear_close(db->ear);
    rl_pool_wake_at(db, db->close_by);
    rl_loop_kick(db->loop); /* the hook closes a pool that is empty already */
}

void rl_db_retire(rl_db *db, rl_db *by)
{
    db->set.min_connections = 0;
    db->set.idle_timeout = RETIRED_IDLE;
    rl_pool_wake_at(db, rl_pool_now());
    if (db->ear)
        rl_ear_move(db->ear, by);
}

bool rl_db_is_quiet(const rl_db *db)
{
    return !db->count[BUSY] && !db->count[LEASED] && !db->count[CLEANING] && !db->nwaiting &&
           !db->nreads && rl_list_empty(&db->answers);
}

const char *rl_db_name(const rl_db *db)
{
    return db->name;
}

const char *rl_db_backend(const rl_db *db)
{
    return db->driver->backend;
}

const char *rl_db_display_url(const rl_db *db)
{
    return db->display;
}

uint64_t rl_db_hold_warning(const rl_db *db)
{
    return db->set.hold_warning;
}

void rl_db_stats_of(const rl_db *db, rl_db_stats *out)
{
    *out = db->stats;
    out->idle = db->count[IDLE];
    out->busy = db->count[BUSY] + db->count[CLEANING];
    out->leased = db->count[LEASED];
    out->connecting = db->count[DIALING];
    out->open = out->idle + out->busy + out->leased;
    out->waiting = db->nwaiting + db->nreads;
    out->shared = db->nshared;
}
