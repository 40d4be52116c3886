/* forwarded.c - both families come to the same: hops, from left to right, of which the last few are
 * kept. A hop says for whom it is; what it says besides (scheme, host) is as its proxy saw it.
 *
 * A header's lines are one list, but each is read by itself: a quote that somebody opens in a line
 * of his own must not swallow what a proxy adds in another. */
#include "proto/forwarded.h"

#include "proto/url.h"

#include <stdio.h>

enum {
    MAX_HOPS = 16
}; /* more than anybody's proxies; those to the left of them are not looked at */

typedef struct hop {
    rl_address client;
    rl_scheme scheme;
    rl_str host; /* a slice of the head, or of words; n is 0: nothing said */
    bool has_client;
} hop;

typedef struct hops {
    hop list[MAX_HOPS]; /* used as a ring: the last one is at n - 1 */
    size_t n;           /* how many came by */
} hops;

static hop *add_hop(hops *hs)
{
    hop *h = &hs->list[hs->n++ % MAX_HOPS];

    *h = (hop){.client.family = RL_ADDRESS_UNKNOWN};
    return h;
}

/* The i-th from the right; NULL when it is not there or not kept. */
static hop *hop_from_right(hops *hs, size_t i)
{
    return i < hs->n && i < MAX_HOPS ? &hs->list[(hs->n - 1 - i) % MAX_HOPS] : NULL;
}

/* Values */

static rl_scheme scheme_of(rl_str s)
{
    if (rl_str_eq_nocase(s, RL_STR("http")) || rl_str_eq_nocase(s, RL_STR("ws")))
        return RL_SCHEME_HTTP;
    if (rl_str_eq_nocase(s, RL_STR("https")) || rl_str_eq_nocase(s, RL_STR("wss")))
        return RL_SCHEME_HTTPS;
    return RL_SCHEME_NONE;
}

static rl_str host_of(rl_str s)
{
    bool fits = s.n < RL_FORWARDED_HOST_MAX && rl_url_authority_valid(s);

    return fits ? s : RL_STR("");
}

/* "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]:80"; anything else is unknown. */
static rl_address node_of(rl_str s)
{
    rl_address a = {.family = RL_ADDRESS_UNKNOWN};
    rl_str host = s, port = {NULL, 0};
    uint64_t n = 0;

    if (s.n && s.p[0] == '[') {
        const char *end = memchr(s.p, ']', s.n);
        if (!end)
            return a;
        host = (rl_str){s.p + 1, (size_t)(end - s.p) - 1};
        port = (rl_str){end + 1, s.n - host.n - 2};
        if (!memchr(host.p, ':', host.n) || (port.n && port.p[0] != ':'))
            return a;
        port = port.n ? (rl_str){port.p + 1, port.n - 1} : (rl_str){NULL, 0};
    } else {
        const char *colon = s.n ? memchr(s.p, ':', s.n) : NULL;
        if (colon && !memchr(colon + 1, ':', s.n - (size_t)(colon + 1 - s.p))) {
            host.n = (size_t)(colon - s.p);
            port = (rl_str){colon + 1, s.n - host.n - 1};
        }
    }
    bool hidden = port.n && port.p[0] == '_'; /* an obfuscated port of a known host */
    if ((port.p && !hidden && !rl_str_to_u64(port, 65535, &n)) || !rl_address_parse(&a, host))
        return (rl_address){.family = RL_ADDRESS_UNKNOWN};
    a.port = (uint16_t)n;
    return a;
}

/* Forwarded: for=192.0.2.43;proto=https, for="[2001:db8::17]:4711" */

static bool is_token_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static void skip_blanks(rl_str *s)
{
    while (s->n && (s->p[0] == ' ' || s->p[0] == '\t'))
        s->p++, s->n--;
}

static rl_str take_token(rl_str *s)
{
    size_t n = 0;

    while (n < s->n && is_token_char(s->p[n]))
        n++;
    rl_str token = {s->p, n};
    *s = (rl_str){s->p + n, s->n - n};
    return token;
}

/* What stands in quotes, without them. Nothing that is of use here needs a backslash, so a value
 * that has one is passed over whole, as the empty one. */
static bool take_quoted(rl_str *s, rl_str *value)
{
    bool escaped = false;
    size_t n = 1;

    for (; n < s->n && s->p[n] != '"'; n++)
        if (s->p[n] == '\\') {
            escaped = true;
            n++;
        }
    if (n >= s->n)
        return false;
    *value = (rl_str){s->p + 1, escaped ? 0 : n - 1};
    *s = (rl_str){s->p + n + 1, s->n - n - 1};
    return true;
}

/* Nobody needs to quote less than he should, but people do not quote ports: be lenient about the
 * characters of a value without quotes, as long as it ends where it should. */
static rl_str take_bare(rl_str *s)
{
    size_t n = 0;

    while (n < s->n && (is_token_char(s->p[n]) || strchr(":[]/", s->p[n])) && s->p[n])
        n++;
    rl_str value = {s->p, n};
    *s = (rl_str){s->p + n, s->n - n};
    return value;
}

static bool take_pair(rl_str *s, hop *h, unsigned *seen)
{
    static const rl_str names[] = {{"for", 3}, {"proto", 5}, {"host", 4}, {"by", 2}};
    rl_str name = take_token(s), value;
    unsigned which = 0;

    if (!name.n || !s->n || s->p[0] != '=')
        return false;
    *s = (rl_str){s->p + 1, s->n - 1};
    if (s->n && s->p[0] == '"') {
        if (!take_quoted(s, &value))
            return false;
    } else {
        value = take_bare(s);
        if (!value.n)
            return false;
    }
    while (which < RL_COUNT(names) && !rl_str_eq_nocase(name, names[which]))
        which++;
    if (which == RL_COUNT(names))
        return true; /* an extension */
    if (*seen & 1u << which)
        return false; /* once in each hop (section 4) */
    *seen |= 1u << which;
    if (which == 0) {
        h->has_client = true;
        h->client = node_of(value);
    } else if (which == 1) {
        h->scheme = scheme_of(value);
    } else if (which == 2) {
        h->host = host_of(value);
    }
    return true;
}

/* One hop, up to the comma behind it. */
static bool take_hop(rl_str *s, hop *h)
{
    unsigned seen = 0;

    for (;;) {
        skip_blanks(s);
        if (s->n && s->p[0] != ';' && s->p[0] != ',' && !take_pair(s, h, &seen))
            return false;
        skip_blanks(s);
        if (!s->n || s->p[0] == ',')
            return true;
        if (s->p[0] != ';')
            return false;
        *s = (rl_str){s->p + 1, s->n - 1};
    }
}

/* A line that is malformed is one hop that tells nothing: who asks for more than stands to the
 * right of it learns that it is unknown. */
static void read_forwarded(hops *hs, rl_str line)
{
    hops saved = *hs;

    for (;;) {
        skip_blanks(&line);
        if (!line.n)
            return;
        if (line.p[0] != ',' && !take_hop(&line, add_hop(hs))) {
            *hs = saved;
            add_hop(hs)->has_client = true;
            return;
        }
        if (line.n) /* the comma */
            line = (rl_str){line.p + 1, line.n - 1};
    }
}

/* X-Forwarded-For: client, proxy, proxy */

static void read_x_for(hops *hs, rl_str line)
{
    rl_str item;

    while (rl_str_cut(&line, ',', &item)) {
        item = rl_str_trim(item);
        if (!item.n)
            continue;
        hop *h = add_hop(hs);
        h->has_client = true;
        h->client = node_of(item);
    }
}

/* The value of another header of that family that belongs to the hop `at` from the right: one by
 * one when there are as many as hops, else the last, which the nearest proxy wrote. */
typedef struct values {
    rl_str list[MAX_HOPS];
    size_t n;
} values;

static void read_values(values *vs, rl_str line)
{
    rl_str item;

    while (rl_str_cut(&line, ',', &item)) {
        item = rl_str_trim(item);
        if (item.n)
            vs->list[vs->n++ % MAX_HOPS] = item;
    }
}

static rl_str value_for(const values *vs, const hops *hs, size_t at)
{
    if (vs->n == 0)
        return RL_STR("");
    return vs->list[(vs->n - 1 - (vs->n == hs->n ? at : 0)) % MAX_HOPS];
}

/* The walk */

typedef struct finding {
    bool said; /* the family is there */
    bool says_client;
    rl_address client; /* may be unknown */
    rl_scheme scheme;
    rl_str host;
    uint16_t port; /* X-Forwarded-Port */
} finding;

/* How far from the right the client's hop stands: the first that is for somebody not trusted, or
 * the last there is. */
static size_t walk(hops *hs, const rl_networks *trusted)
{
    size_t at = 0;

    for (; at + 1 < hs->n && at + 1 < MAX_HOPS; at++)
        if (!rl_networks_has(trusted, &hop_from_right(hs, at)->client))
            break;
    return at;
}

static void find_in_forwarded(finding *f, hops *hs, const rl_networks *trusted)
{
    f->said = hs->n > 0;
    if (!f->said)
        return;
    const hop *h = hop_from_right(hs, walk(hs, trusted));
    f->says_client = h->has_client;
    f->client = h->client;
    f->scheme = h->scheme;
    f->host = h->host;
}

typedef struct x_family {
    hops hops;
    values protos, hosts, ports;
} x_family;

static void find_in_x(finding *f, x_family *x, const rl_networks *trusted)
{
    uint64_t port;

    f->said = x->hops.n || x->protos.n || x->hosts.n || x->ports.n;
    if (!f->said)
        return;
    size_t at = x->hops.n ? walk(&x->hops, trusted) : 0;
    f->says_client = x->hops.n > 0;
    if (f->says_client)
        f->client = hop_from_right(&x->hops, at)->client;
    f->scheme = scheme_of(value_for(&x->protos, &x->hops, at));
    f->host = host_of(value_for(&x->hosts, &x->hops, at));
    if (rl_str_to_u64(value_for(&x->ports, &x->hops, at), 65535, &port))
        f->port = (uint16_t)port;
}

static bool same_machine(const rl_address *a, const rl_address *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* What both say, or what the one says that says anything. */
static void merge(finding *a, const finding *b)
{
    if (!b->said)
        return;
    if (!a->said) {
        *a = *b;
        return;
    }
    if (!a->says_client) {
        a->client = b->client;
    } else if (b->says_client && !same_machine(&a->client, &b->client)) {
        a->client = (rl_address){.family = RL_ADDRESS_UNKNOWN};
    }
    a->says_client |= b->says_client;
    if (a->scheme == RL_SCHEME_NONE)
        a->scheme = b->scheme;
    else if (b->scheme != RL_SCHEME_NONE && b->scheme != a->scheme)
        a->scheme = RL_SCHEME_NONE;
    if (!a->host.n)
        a->host = b->host;
    else if (b->host.n && !rl_str_eq_nocase(a->host, b->host))
        a->host = RL_STR("");
    a->port = b->port;
}

/* The prefix */

static bool take_prefix(char out[RL_FORWARDED_PREFIX_MAX], rl_str s)
{
    while (s.n && s.p[s.n - 1] == '/')
        s.n--;
    if (s.n == 0 || s.n >= RL_FORWARDED_PREFIX_MAX || s.p[0] != '/')
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!is_token_char(c) && c != '/')
            return false;
        if (c == '%' || (c == '/' && i + 1 < s.n && (s.p[i + 1] == '/' || s.p[i + 1] == '.')))
            return false; /* it is a path as scripts see it: decoded, and no way out of it */
    }
    memcpy(out, s.p, s.n);
    out[s.n] = '\0';
    return true;
}

/* A port besides, for a host that has none. */
static void put_host(rl_forwarded *out, const finding *f)
{
    bool bare = f->host.n && !memchr(f->host.p, ':', f->host.n);
    bool bracketed = f->host.n && f->host.p[f->host.n - 1] == ']';
    bool usual = f->port == (f->scheme == RL_SCHEME_HTTPS ? 443 : 80);
    int n;

    if (f->port && !usual && (bare || bracketed))
        n = snprintf(out->host, sizeof(out->host), "%.*s:%u", (int)f->host.n, f->host.p, f->port);
    else
        n = snprintf(out->host, sizeof(out->host), "%.*s", (int)f->host.n, f->host.p);
    if (n >= (int)sizeof(out->host))
        out->host[0] = '\0';
}

bool rl_forwarded_read(rl_forwarded *out, const rl_http_head *head, const rl_networks *trusted)
{
    finding both = {.client.family = RL_ADDRESS_UNKNOWN}, x_says = both;
    hops forwarded = {.n = 0};
    x_family x = {.hops.n = 0};
    rl_str prefix = RL_STR("");

    for (size_t i = 0, n = rl_http_field_count(head); i < n; i++) {
        rl_http_field field = rl_http_field_at(head, i);
        if (rl_str_eq(field.name, RL_STR("forwarded")))
            read_forwarded(&forwarded, field.value);
        if (!rl_str_starts(field.name, RL_STR("x-forwarded-")))
            continue;
        if (rl_str_eq(field.name, RL_STR("x-forwarded-for")))
            read_x_for(&x.hops, field.value);
        else if (rl_str_eq(field.name, RL_STR("x-forwarded-proto")))
            read_values(&x.protos, field.value);
        else if (rl_str_eq(field.name, RL_STR("x-forwarded-host")))
            read_values(&x.hosts, field.value);
        else if (rl_str_eq(field.name, RL_STR("x-forwarded-port")))
            read_values(&x.ports, field.value);
        else if (rl_str_eq(field.name, RL_STR("x-forwarded-prefix")))
            prefix = field.value;
    }
    find_in_forwarded(&both, &forwarded, trusted);
    find_in_x(&x_says, &x, trusted);
    merge(&both, &x_says);
    if (!both.said && !prefix.n)
        return false;

    memset(out, 0, sizeof(*out));
    out->has_client = both.says_client;
    out->client = both.client;
    out->scheme = both.scheme;
    put_host(out, &both);
    take_prefix(out->prefix, prefix);
    return true;
}
