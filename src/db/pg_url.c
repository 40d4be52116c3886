/* Where a URL leads.
 *
 * Whatever libpq says about a URL it cannot read quotes the URL, password and all; so what
 * it quotes is cut off, and settings with unknown names are found before libpq sees them.
 *
 * Server-side settings ride in the startup packet, where they cost no round trip and become
 * what RESET goes back to. There `options` come first, and what the environment says about
 * dates and time zones (PGDATESTYLE, PGTZ) overrides them; so rl_db_settle_environment()
 * makes it say what the options say. Behind pgbouncer, which knows no options, those two and the
 * encoding are all that is set: it keeps track of them from session to session. */
#include "db/pg.h"

#include "db/settings.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

void rl_db_settle_environment(void)
{
    setenv("PGDATESTYLE", "ISO", 1);
    setenv("PGTZ", "UTC", 1);
}

static const char *value_of(const PQconninfoOption *o, const char *keyword)
{
    for (; o->keyword; o++)
        if (strcmp(o->keyword, keyword) == 0)
            return o->val && *o->val ? o->val : NULL;
    return NULL;
}

static bool is_known(const PQconninfoOption *o, rl_str name)
{
    if (rl_str_eq(name, RL_STR("ssl"))) /* an alias that URLs may use */
        return true;
    for (; o->keyword; o++)
        if (rl_str_eq(name, rl_str_of(o->keyword)))
            return true;
    return false;
}

static int check_names(const PQconninfoOption *known, const char *url, rl_err *err)
{
    const char *mark = strchr(url, '?');
    rl_str rest = mark ? rl_str_of(mark + 1) : (rl_str){0}, pair, name;

    while (rl_str_cut(&rest, '&', &pair))
        if (rl_str_cut(&pair, '=', &name) && !is_known(known, name))
            return rl_err_set(err, RL_EPROGRAMMING,
                              "the URL has a setting that is not known: "
                              "%.*s",
                              (int)name.n, name.p);
    return 0;
}

static void put(rl_pg_conf *c, const char *keyword, const char *value)
{
    for (unsigned i = 0; i < c->n; i++)
        if (strcmp(c->keywords[i], keyword) == 0)
            return;
    c->keywords = rl_realloc(c->keywords, (c->n + 1) * sizeof(char *));
    c->values = rl_realloc(c->values, (c->n + 1) * sizeof(char *));
    c->keywords[c->n] = rl_strdup(keyword);
    c->values[c->n++] = rl_strdup(value);
}

static void put_settings(rl_pg_conf *c, const PQconninfoOption *given,
                         const PQconninfoOption *known, const rl_db_settings *s)
{
    const char *options = value_of(given, "options");
    char *all;

    if (!options && known)
        options = value_of(known, "options");

    if (!s->pgbouncer) {
        uint64_t in_transaction = s->idle_in_transaction_timeout;
        all = rl_sprintf("-c DateStyle=ISO -c TimeZone=UTC -c standard_conforming_strings=on "
                         "-c bytea_output=hex -c extra_float_digits=1 -c statement_timeout=%llu "
                         "-c idle_in_transaction_session_timeout=%llu %s",
                         (unsigned long long)s->statement_timeout,
                         (unsigned long long)(in_transaction == RL_DB_NEVER ? 0 : in_transaction),
                         options ? options : "");
        put(c, "options", all);
        rl_free(all);
    }
    put(c, "client_encoding", "UTF8");
    put(c, "gssencmode", "disable"); /* looking for credentials blocks */
    for (; given->keyword; given++) {
        bool looked_up = strcmp(given->keyword, "host") == 0 ||
                         strcmp(given->keyword, "hostaddr") == 0 ||
                         strcmp(given->keyword, "port") == 0;
        if (given->val && *given->val && !looked_up)
            put(c, given->keyword, given->val);
    }
    put(c, "fallback_application_name", "rille");
    put(c, "keepalives_idle", "30");
    put(c, "keepalives_interval", "10");
    put(c, "keepalives_count", "3");
    put(c, "tcp_user_timeout", "15000");
}

static char *display_of(const PQconninfoOption *o)
{
    const char *user = value_of(o, "user"), *host = value_of(o, "host");
    const char *port = value_of(o, "port"), *name = value_of(o, "dbname");

    return rl_sprintf("postgresql://%s%s%s%s%s/%s", user ? user : "", user ? "@" : "",
                      host ? host : "", port ? ":" : "", port ? port : "", name ? name : "");
}

int rl_pg_config(void **out, char **display, const char *url, rl_db_settings *s, rl_err *err)
{
    PQconninfoOption *known = PQconndefaults(), *given;
    char *why = NULL;
    int rc = known ? check_names(known, url, err) : 0;

    if (rc == 0 && s->pgbouncer && s->statement_timeout)
        rc = rl_err_set(err, RL_EPROGRAMMING,
                        "statement_timeout cannot be set through pgbouncer: give it to the role");
    if (rc < 0) {
        PQconninfoFree(known);
        return rc;
    }
    given = PQconninfoParse(url, &why);
    if (!given) {
        int n = why ? (int)strcspn(why, "\":\n") : 0;
        rl_err_set(err, RL_EPROGRAMMING, "its URL makes no sense: %.*s", n, why ? why : "");
        PQfreemem(why);
        PQconninfoFree(known);
        return err->code;
    }
    rl_pg_conf *c = rl_calloc(1, sizeof(*c));
    bool named = value_of(given, "host") || value_of(given, "hostaddr");
    bool serviced = !known || value_of(given, "service"); /* libpq looks that up by itself */
    const PQconninfoOption *where = named || serviced ? given : known; /* else the environment's */
    c->host = rl_strdup(value_of(where, "host"));
    c->hostaddr = rl_strdup(value_of(where, "hostaddr"));
    where = value_of(given, "port") || serviced ? given : known;
    c->port = rl_strdup(value_of(where, "port"));
    c->cache_size = s->statement_cache_size;
    c->prepare = s->prepare;
    c->pgbouncer = s->pgbouncer;
    put_settings(c, given, known, s);
    *display = display_of(given);
    *out = c;
    PQconninfoFree(given);
    PQconninfoFree(known);
    return 0;
}

void rl_pg_config_free(void *conf)
{
    rl_pg_conf *c = conf;

    for (unsigned i = 0; i < c->n; i++) {
        rl_free(c->keywords[i]);
        rl_free(c->values[i]);
    }
    rl_free(c->keywords);
    rl_free(c->values);
    rl_free(c->host);
    rl_free(c->hostaddr);
    rl_free(c->port);
    rl_free(c);
}

/* Names to addresses */

static bool is_name(rl_str host)
{
    char text[64];
    struct in6_addr unused;

    if (host.n == 0 || *host.p == '/' || *host.p == '@')
        return false;
    if (host.n >= sizeof(text))
        return true;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    return inet_pton(AF_INET, text, &unused) != 1 && inet_pton(AF_INET6, text, &unused) != 1;
}

bool rl_pg_needs_lookup(const rl_pg_conf *conf)
{
    rl_str rest = conf->host ? rl_str_of(conf->host) : (rl_str){0}, host;

    if (!conf->hostaddr)
        while (rl_str_cut(&rest, ',', &host))
            if (is_name(host))
                return true;
    return false;
}

static void add(rl_buf *list, const char *p, size_t n, bool first)
{
    if (!first)
        rl_buf_add_c(list, ',');
    rl_buf_add(list, p, n);
}

static void found(rl_pg_lookup *l, const char *addr)
{
    bool first = l->host.len == 0;

    add(&l->host, l->host_now.p, l->host_now.n, first);
    add(&l->addr, addr, strlen(addr), first);
    add(&l->port, l->port_now.p, l->port_now.n, first);
}

static void on_found(uv_getaddrinfo_t *req, int status, struct addrinfo *res);

/* Take the hosts one by one. True: the rest goes on in on_found(). */
static bool look_up_next(rl_pg_lookup *l, uv_loop_t *loop)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    char name[256];
    rl_str port;

    while (rl_str_cut(&l->hosts_left, ',', &l->host_now)) {
        if (rl_str_cut(&l->ports_left, ',', &port)) /* one port serves for all that follow */
            l->port_now = port;
        if (!is_name(l->host_now)) {
            found(l, "");
            continue;
        }
        snprintf(name, sizeof(name), "%.*s", (int)l->host_now.n, l->host_now.p);
        int rc = uv_getaddrinfo(loop, &l->req, on_found, name, NULL, &hints);
        if (rc == 0)
            return true;
        snprintf(l->why, sizeof(l->why), "%.80s: %s", name, uv_strerror(rc));
    }
    return false;
}

static void on_found(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
    rl_pg_lookup *l = RL_CONTAINER_OF(req, rl_pg_lookup, req);
    char addr[64];
    rl_err err;

    if (!l->fn) { /* nor may what conf lent be there any more */
        uv_freeaddrinfo(res);
        rl_pg_lookup_free(l);
        return;
    }
    for (struct addrinfo *at = res; at; at = at->ai_next) {
        if (at->ai_family == AF_INET6)
            uv_ip6_name((struct sockaddr_in6 *)at->ai_addr, addr, sizeof(addr));
        else
            uv_ip4_name((struct sockaddr_in *)at->ai_addr, addr, sizeof(addr));
        found(l, addr);
    }
    uv_freeaddrinfo(res);
    if (status < 0)
        snprintf(l->why, sizeof(l->why), "%.*s: %s", (int)(l->host_now.n < 80 ? l->host_now.n : 80),
                 l->host_now.p, uv_strerror(status));
    if (look_up_next(l, req->loop))
        return;
    if (l->host.len == 0)
        rl_err_set(&err, RL_EOPERATIONAL, "cannot find the host %s", l->why);
    l->fn(l->arg, l, l->host.len ? NULL : &err);
}

rl_pg_lookup *rl_pg_lookup_new(rl_loop *loop, const rl_pg_conf *conf, rl_pg_found_fn *fn, void *arg)
{
    rl_pg_lookup *l = rl_calloc(1, sizeof(*l));

    l->fn = fn;
    l->arg = arg;
    l->hosts_left = rl_str_of(conf->host);
    l->ports_left = conf->port ? rl_str_of(conf->port) : (rl_str){0};
    l->port_now = RL_STR("");
    if (look_up_next(l, &loop->uv))
        return l;
    rl_pg_lookup_free(l);
    return NULL;
}

void rl_pg_lookup_free(rl_pg_lookup *l)
{
    rl_buf_fini(&l->host);
    rl_buf_fini(&l->addr);
    rl_buf_fini(&l->port);
    rl_free(l);
}

PGconn *rl_pg_start(const rl_pg_conf *conf, rl_pg_lookup *found_at, rl_err *err)
{
    const char **keywords = rl_calloc(conf->n + 4, sizeof(char *));
    const char **values = rl_calloc(conf->n + 4, sizeof(char *));
    unsigned n = 0;

    for (; n < conf->n; n++) {
        keywords[n] = conf->keywords[n];
        values[n] = conf->values[n];
    }
    keywords[n] = "host"; /* NULL and "" mean the default */
    values[n++] = found_at ? rl_buf_cstr(&found_at->host) : conf->host;
    keywords[n] = "hostaddr";
    values[n++] = found_at ? rl_buf_cstr(&found_at->addr) : conf->hostaddr;
    keywords[n] = "port";
    values[n++] = found_at ? rl_buf_cstr(&found_at->port) : conf->port;
    PGconn *pg = PQconnectStartParams(keywords, values, 0);
    rl_free(keywords);
    rl_free(values);
    if (pg && PQstatus(pg) != CONNECTION_BAD)
        return pg;
    if (pg)
        rl_pg_conn_error(err, pg);
    else
        rl_err_set(err, RL_EOPERATIONAL, "libpq is out of memory");
    PQfinish(pg);
    return NULL;
}
