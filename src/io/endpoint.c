#include "io/endpoint.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

static int bad(const rl_endpoint *e, rl_err *err, const char *fmt, ...) RL_PRINTF(3, 4);

static int bad(const rl_endpoint *e, rl_err *err, const char *fmt, ...)
{
    char why[160];
    va_list args;

    va_start(args, fmt);
    vsnprintf(why, sizeof(why), fmt, args);
    va_end(args);
    return rl_err_set(err, -EINVAL, "bad address '%s': %s", e->text, why);
}

static bool take(rl_str *s, rl_str prefix)
{
    if (!rl_str_starts(*s, prefix))
        return false;
    *s = (rl_str){s->p + prefix.n, s->n - prefix.n};
    return true;
}

static int put_name(rl_endpoint *e, rl_str name, const char *what, rl_err *err)
{
    if (name.n == 0 || name.n >= sizeof(e->name))
        return bad(e, err, "%s has 1 to %zu bytes", what, sizeof(e->name) - 1);
    memcpy(e->name, name.p, name.n);
    e->name[name.n] = '\0';
    return 0;
}

static int parse_unix(rl_endpoint *e, rl_str path, rl_err *err)
{
    e->kind = RL_ENDPOINT_UNIX;
    if (rl_str_eq(path, RL_STR("@")))
        return bad(e, err, "a name is missing behind the @");
    return put_name(e, path, "a socket's path", err);
}

static int parse_fd(rl_endpoint *e, rl_str number, rl_err *err)
{
    uint64_t fd;

    e->kind = RL_ENDPOINT_FD;
    if (!rl_str_to_u64(number, 1 << 20, &fd))
        return bad(e, err, "want fd:NUMBER");
    e->fd = (int)fd;
    return 0;
}

/* The number of an interface by its name or number; 0: there is none. */
static unsigned interface_of(rl_str zone)
{
    char text[64];
    struct sockaddr_in6 in6 = {.sin6_scope_id = 0};
    uint64_t index;

    if (rl_str_to_u64(zone, UINT32_MAX, &index))
        return (unsigned)index;
    snprintf(text, sizeof(text), "fe80::%%%.*s", (int)(zone.n < 40 ? zone.n : 40), zone.p);
    return uv_ip6_addr(text, 0, &in6) == 0 ? in6.sin6_scope_id : 0;
}

/* "[fe80::1%eth0]" without the brackets */
static int parse_ipv6(rl_endpoint *e, rl_str host, rl_err *err)
{
    uint16_t port = e->address.port;
    rl_str address;

    rl_str_cut(&host, '%', &address);
    if (!rl_address_parse(&e->address, address) || !memchr(address.p, ':', address.n))
        return bad(e, err, "no IPv6 address in the brackets");
    if (e->address.family != RL_ADDRESS_IPV6)
        return bad(e, err, "an IPv4 address is written without brackets, as HOST:PORT");
    e->address.port = port;
    if (!host.p)
        return 0;
    e->scope = interface_of(host);
    return e->scope ? 0
                    : bad(e, err, "there is no interface '%.*s'", (int)(host.n < 40 ? host.n : 40),
                          host.p);
}

static int parse_host(rl_endpoint *e, rl_str host, rl_err *err)
{
    static const uint8_t zeros[16];
    uint16_t port = e->address.port;

    if (host.n == 0 || rl_str_eq(host, RL_STR("*"))) {
        e->kind = RL_ENDPOINT_ANY;
        return 0;
    }
    if (rl_str_eq_nocase(host, RL_STR("localhost"))) {
        e->kind = RL_ENDPOINT_LOCALHOST;
        return 0;
    }
    if (host.p[0] == '[' && host.p[host.n - 1] == ']') {
        int rc = parse_ipv6(e, (rl_str){host.p + 1, host.n - 2}, err);
        if (rc == 0 && memcmp(e->address.bytes, zeros, sizeof(zeros)) == 0)
            e->kind = RL_ENDPOINT_ANY;
        return rc;
    }
    if (memchr(host.p, ':', host.n) || !rl_address_parse(&e->address, host))
        return bad(e, err, "'%.*s' is not an IP address (IPv6 goes in brackets)",
                   (int)(host.n < 80 ? host.n : 80), host.p);
    e->address.port = port;
    return 0;
}

static int parse_inet(rl_endpoint *e, rl_str where, rl_err *err)
{
    const char *colon = where.n ? memrchr(where.p, ':', where.n) : NULL;
    size_t n = colon ? (size_t)(colon - where.p) : 0;
    uint64_t port;

    e->kind = RL_ENDPOINT_IP;
    if (!colon || !rl_str_to_u64((rl_str){colon + 1, where.n - n - 1}, 65535, &port))
        return bad(e, err,
                   "want HOST:PORT, [IPV6]:PORT, unix:PATH, fd:NUMBER or systemd, perhaps with "
                   "tls: in front");
    e->address.port = (uint16_t)port;
    return parse_host(e, (rl_str){where.p, n}, err);
}

static int parse_where(rl_endpoint *e, rl_str where, rl_err *err)
{
    if (take(&where, RL_STR("unix:")))
        return parse_unix(e, where, err);
    if (take(&where, RL_STR("fd:")))
        return parse_fd(e, where, err);
    if (rl_str_eq(where, RL_STR("systemd"))) {
        e->kind = RL_ENDPOINT_SYSTEMD;
        return 0;
    }
    if (take(&where, RL_STR("systemd:"))) {
        e->kind = RL_ENDPOINT_SYSTEMD;
        return put_name(e, where, "a socket's name", err);
    }
    return parse_inet(e, where, err);
}

/* Options */

static int parse_mode(rl_endpoint *e, const char *value, rl_err *err)
{
    char *end;
    unsigned long mode = strtoul(value, &end, 8);

    if (*value < '0' || *value > '7' || *end || mode > 0777)
        return bad(e, err, "mode is octal, like 0660, not '%s'", value);
    e->mode = (unsigned)mode;
    return 0;
}

static int parse_user(rl_endpoint *e, const char *value, rl_err *err)
{
    const struct passwd *entry = getpwnam(value);
    uint64_t id;

    if (entry)
        e->user = entry->pw_uid;
    else if (rl_str_to_u64(rl_str_of(value), UINT32_MAX - 1, &id))
        e->user = (unsigned)id;
    else
        return bad(e, err, "there is no user '%s'", value);
    return 0;
}

static int parse_group(rl_endpoint *e, const char *value, rl_err *err)
{
    const struct group *entry = getgrnam(value);
    uint64_t id;

    if (entry)
        e->group = entry->gr_gid;
    else if (rl_str_to_u64(rl_str_of(value), UINT32_MAX - 1, &id))
        e->group = (unsigned)id;
    else
        return bad(e, err, "there is no group '%s'", value);
    return 0;
}

static int switch_v6only(rl_endpoint *e, const char *value, rl_err *err)
{
    e->v6only = true;
    return 0;
}

static int switch_proxied(rl_endpoint *e, const char *value, rl_err *err)
{
    e->proxied = true;
    return 0;
}

static const struct option {
    const char *name;
    bool valued;
    unsigned kinds; /* of endpoints that have it */
    int (*fn)(rl_endpoint *e, const char *value, rl_err *err);
} options[] = {
    {"v6only", false, 1u << RL_ENDPOINT_IP | 1u << RL_ENDPOINT_ANY, switch_v6only},
    {"proxy", false, ~0u, switch_proxied},
    {"mode", true, 1u << RL_ENDPOINT_UNIX, parse_mode},
    {"user", true, 1u << RL_ENDPOINT_UNIX, parse_user},
    {"group", true, 1u << RL_ENDPOINT_UNIX, parse_group},
};

static int parse_option(rl_endpoint *e, rl_str word, rl_err *err)
{
    char value[64];
    rl_str name;

    rl_str_cut(&word, '=', &name);
    for (size_t i = 0; i < RL_COUNT(options); i++) {
        const struct option *o = &options[i];
        if (!rl_str_eq(name, rl_str_of(o->name)))
            continue;
        bool nameless = e->kind == RL_ENDPOINT_UNIX && e->name[0] == '@';
        if (!(o->kinds & 1u << e->kind) || (nameless && o->valued))
            return bad(e, err, "%s is no option of such an address", o->name);
        if (o->valued != !!word.p || word.n >= sizeof(value))
            return bad(e, err, o->valued ? "want %s=VALUE" : "%s takes no value", o->name);
        snprintf(value, sizeof(value), "%.*s", (int)word.n, word.p ? word.p : "");
        return o->fn(e, value, err);
    }
    return bad(e, err, "no option '%.*s'; there are proxy, v6only, mode=, user= and group=",
               (int)(name.n < 40 ? name.n : 40), name.p);
}

int rl_endpoint_parse(rl_endpoint *out, const char *text, rl_err *err)
{
    rl_str rest = rl_str_of(text), where, word;

    *out = (rl_endpoint){.text = text,
                         .mode = RL_ENDPOINT_UNSET,
                         .user = RL_ENDPOINT_UNSET,
                         .group = RL_ENDPOINT_UNSET};
    out->tls = take(&rest, RL_STR("tls:"));
    rl_str_cut(&rest, ',', &where);
    int rc = parse_where(out, where, err);
    while (rc == 0 && rl_str_cut(&rest, ',', &word))
        rc = parse_option(out, word, err);
    return rc;
}
