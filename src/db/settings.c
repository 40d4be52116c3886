/* Names that rille knows are cut from the URL's query; the rest is left for the driver to
 * understand or refuse. A value that makes no sense is refused here, by name, and never
 * together with the URL, which may hold a password. */
#include "db/settings.h"

#include "base/buf.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>

static uint64_t ms(double seconds)
{
    return seconds < 0 || seconds > 1e12 ? RL_DB_NEVER : (uint64_t)(seconds * 1000 + 0.5);
}

static double at_most(double a, double b)
{
    return a < b ? a : b;
}

static bool is_word(rl_str v, const char *const *words)
{
    for (; *words; words++)
        if (rl_str_eq_nocase(v, rl_str_of(*words)))
            return true;
    return false;
}

static bool to_bool(rl_str v, bool *out)
{
    static const char *const yes[] = {"1", "true", "on", "yes", NULL};
    static const char *const no[] = {"0", "false", "off", "no", NULL};

    *out = is_word(v, yes);
    return *out || is_word(v, no);
}

/* Seconds, or a word for never, which is -1. */
static bool to_seconds(rl_str v, double *out)
{
    static const char *const never[] = {"never", "none", "false", NULL};
    char text[40], *end;

    if (is_word(v, never)) {
        *out = -1;
        return true;
    }
    if (v.n == 0 || v.n >= sizeof(text))
        return false;
    memcpy(text, v.p, v.n);
    text[v.n] = '\0';
    *out = strtod(text, &end);
    return *end == '\0' && isfinite(*out);
}

static bool to_count(rl_str v, unsigned *out)
{
    uint64_t n;

    if (!rl_str_to_u64(v, 100000, &n))
        return false;
    *out = (unsigned)n;
    return true;
}

/* 1: taken, 0: not one of ours, -1: ours, with a value that makes no sense. */
static int take(rl_db_opts *o, rl_str name, rl_str v)
{
    bool ok, on;

    if (rl_str_eq(name, RL_STR("conn_max_age")))
        ok = o->has_max_age = to_seconds(v, &o->conn_max_age);
    else if (rl_str_eq(name, RL_STR("idle_timeout")))
        ok = to_seconds(v, &o->idle_timeout);
    else if (rl_str_eq(name, RL_STR("acquire_timeout")))
        ok = to_seconds(v, &o->acquire_timeout) && o->acquire_timeout >= 0;
    else if (rl_str_eq(name, RL_STR("statement_timeout")))
        ok = to_seconds(v, &o->statement_timeout) && o->statement_timeout >= 0;
    else if (rl_str_eq(name, RL_STR("slow_statement")))
        ok = to_seconds(v, &o->slow_statement);
    else if (rl_str_eq(name, RL_STR("idle_in_transaction_timeout")))
        ok = to_seconds(v, &o->idle_in_transaction_timeout);
    else if (rl_str_eq(name, RL_STR("hold_warning")))
        ok = to_seconds(v, &o->hold_warning);
    else if (rl_str_eq(name, RL_STR("max_connections")))
        ok = to_count(v, &o->max_connections);
    else if (rl_str_eq(name, RL_STR("min_connections")))
        ok = to_count(v, &o->min_connections);
    else if (rl_str_eq(name, RL_STR("statement_cache_size")))
        ok = to_count(v, &o->statement_cache_size);
    else if (rl_str_eq(name, RL_STR("shared_connections")))
        ok = o->has_shared_connections = to_count(v, &o->shared_connections);
    else if (rl_str_eq(name, RL_STR("conn_health_checks")))
        ok = to_bool(v, &o->conn_health_checks);
    else if (rl_str_eq(name, RL_STR("prepare"))) {
        ok = to_bool(v, &on);
        o->no_prepare = !on;
    } else if (rl_str_eq(name, RL_STR("coalesce"))) {
        ok = to_bool(v, &on);
        o->no_coalesce = !on;
    } else if (rl_str_eq(name, RL_STR("pgbouncer")))
        ok = to_bool(v, &o->pgbouncer);
    else
        return 0;
    return ok ? 1 : -1;
}

int rl_db_settings_read(rl_db_settings *s, char **rest, const rl_db_opts *opts, rl_err *err)
{
    rl_db_opts o = *opts;
    rl_str query = {0}, pair;
    const char *mark = strchr(o.url, '?');
    rl_buf kept = {0};

    rl_buf_add(&kept, o.url, mark ? (size_t)(mark - o.url) : strlen(o.url));
    if (mark)
        query = rl_str_of(mark + 1);
    char sep = '?';
    while (rl_str_cut(&query, '&', &pair)) {
        rl_str value = pair, name;
        rl_str_cut(&value, '=', &name);
        int taken = take(&o, name, value.p ? value : RL_STR(""));
        if (taken < 0) {
            rl_buf_fini(&kept);
            return rl_err_set(err, RL_EPROGRAMMING,
                              "the database URL's setting %.*s has a value "
                              "that makes no sense",
                              (int)name.n, name.p);
        }
        if (taken > 0 || pair.n == 0)
            continue;
        rl_buf_add_c(&kept, sep);
        rl_buf_add_str(&kept, pair);
        sep = '&';
    }
    double in_transaction = o.idle_in_transaction_timeout;
    *s = (rl_db_settings){
        .conn_max_age = ms(o.has_max_age ? o.conn_max_age : 3600),
        .idle_timeout = ms(o.idle_timeout == 0 ? 300 : o.idle_timeout),
        .acquire_timeout = ms(o.acquire_timeout <= 0 ? 5 : at_most(o.acquire_timeout, 1e9)),
        .statement_timeout = o.statement_timeout <= 0 ? 0 : ms(at_most(o.statement_timeout, 2e6)),
        .idle_in_transaction_timeout = ms(in_transaction == 0 ? 300 : at_most(in_transaction, 2e6)),
        .hold_warning = ms(o.hold_warning == 0 ? 10 : at_most(o.hold_warning, 1e9)),
        .max_connections = o.max_connections,
        .min_connections = o.min_connections,
        .statement_cache_size = o.statement_cache_size ? o.statement_cache_size : 100,
        .slow_statement = ms(o.slow_statement == 0 ? 1 : o.slow_statement),
        .shared_connections = o.has_shared_connections ? o.shared_connections : UINT_MAX,
        .conn_health_checks = o.conn_health_checks,
        .prepare = !o.no_prepare && !o.pgbouncer,
        .coalesce = !o.no_coalesce,
        .pgbouncer = o.pgbouncer,
    };
    *rest = rl_strdup(rl_buf_cstr(&kept));
    rl_buf_fini(&kept);
    return 0;
}
