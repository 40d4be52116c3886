/* What trusted proxies say of a request, and what somebody else wrote to look like it. */
#include "unit.h"

#include "proto/forwarded.h"

#define TRUSTED "10.0.0.0/8 2001:db8:1::/48"

/* "name: value\nname: value" read, as "client port scheme host prefix", each "-" if nobody says. */
static const char *read(const char *lines)
{
    static const char *const schemes[] = {"-", "http", "https"};
    static char out[700];
    rl_http_head head = {0};
    rl_networks trusted = {0};
    rl_forwarded f;
    rl_str rest = rl_str_of(lines), line, name;
    char host[RL_HOST_MAX];

    CHECK_INT(rl_networks_add(&trusted, RL_STR(TRUSTED), NULL), 0);
    while (rl_str_cut(&rest, '\n', &line)) {
        rl_str_cut(&line, ':', &name);
        rl_http_put_field(&head);
        rl_http_put_name(&head, name);
        rl_http_put_value(&head, line);
        rl_http_put_end(&head);
    }
    if (!rl_forwarded_read(&f, &head, &trusted))
        snprintf(out, sizeof(out), "nothing");
    else
        snprintf(out, sizeof(out), "%s %u %s %s %s",
                 !f.has_client                 ? "-"
                 : rl_address_is_ip(&f.client) ? rl_address_text(&f.client, host)
                                               : "unknown",
                 f.client.port, schemes[f.scheme], *f.host ? f.host : "-",
                 *f.prefix ? f.prefix : "-");
    rl_http_head_fini(&head);
    rl_networks_fini(&trusted);
    return out;
}

static void comes_to(const char *lines, const char *want)
{
    const char *got = read(lines);

    if (strcmp(got, want) != 0)
        printf("of %s\n", lines);
    CHECK_MEM(got, strlen(got), want);
}

static void walks_from_the_right(void)
{
    comes_to("X-Forwarded-For: 203.0.113.7", "203.0.113.7 0 - - -");
    comes_to("X-Forwarded-For: 192.0.2.66, 203.0.113.7", "203.0.113.7 0 - - -");
    comes_to("X-Forwarded-For: 192.0.2.66, 203.0.113.7, 10.0.0.1", "203.0.113.7 0 - - -");
    comes_to("X-Forwarded-For: 192.0.2.66, 203.0.113.7,10.0.0.1 ,10.0.0.2", "203.0.113.7 0 - - -");
    comes_to("X-Forwarded-For: 10.0.0.9, 10.0.0.1", "10.0.0.9 0 - - -"); /* one of ours */
    comes_to("X-Forwarded-For: 127.0.0.1\nX-Forwarded-For: 203.0.113.7", "203.0.113.7 0 - - -");
    comes_to("X-Forwarded-For: garbage, 203.0.113.7", "203.0.113.7 0 - - -");
    comes_to("X-Forwarded-For: 203.0.113.7, garbage", "unknown 0 - - -");
    comes_to("X-Forwarded-For: garbage, 10.0.0.1", "unknown 0 - - -");
    comes_to("X-Forwarded-For: ,, 203.0.113.7,", "203.0.113.7 0 - - -");
    comes_to("X-Forwarded-For:", "nothing");
    comes_to("X-Forwarded-For: unknown", "unknown 0 - - -");
    comes_to("Forwarded: for=192.0.2.66, for=203.0.113.7;by=10.0.0.2, for=10.0.0.1",
             "203.0.113.7 0 - - -");
    comes_to("Forwarded: for=192.0.2.66\nForwarded: for=203.0.113.7", "203.0.113.7 0 - - -");
    comes_to("Host: x\nAccept: */*", "nothing");
}

static void reads_nodes(void)
{
    comes_to("X-Forwarded-For: 203.0.113.7:4711", "203.0.113.7 4711 - - -");
    comes_to("X-Forwarded-For: 2001:db8::7", "2001:db8::7 0 - - -");
    comes_to("X-Forwarded-For: [2001:db8::7]", "2001:db8::7 0 - - -");
    comes_to("X-Forwarded-For: [2001:db8::7]:443", "2001:db8::7 443 - - -");
    comes_to("X-Forwarded-For: ::ffff:203.0.113.7", "203.0.113.7 0 - - -");
    comes_to("X-Forwarded-For: ::ffff:203.0.113.7, ::ffff:10.0.0.1", "203.0.113.7 0 - - -");
    comes_to("X-Forwarded-For: 203.0.113.7, 2001:db8:1::5", "203.0.113.7 0 - - -");
    comes_to("Forwarded: For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17 4711 - - -");
    comes_to("Forwarded: for=\"203.0.113.7:4711\"", "203.0.113.7 4711 - - -");
    comes_to("Forwarded: for=\"203.0.113.7:_port\"", "203.0.113.7 0 - - -");
    comes_to("Forwarded: for=203.0.113.7:4711", "203.0.113.7 4711 - - -"); /* ought to be quoted */
    comes_to("Forwarded: for=_hidden", "unknown 0 - - -");
    comes_to("Forwarded: for=\"_gazonk\", for=10.0.0.1", "unknown 0 - - -");
    comes_to("Forwarded: for=unknown", "unknown 0 - - -");
    for (const char *const *wrong =
             (const char *const[]){"1.2.3", "1.2.3.4:x", "1.2.3.4:70000", "[1.2.3.4]", "[::1",
                                   "[::1]x", "[::1]:", "::1%lo", "1.2.3.4:", "a b", NULL};
         *wrong; wrong++) {
        char line[60];
        snprintf(line, sizeof(line), "X-Forwarded-For: %s", *wrong);
        comes_to(line, "unknown 0 - - -");
    }
}

/* The examples of RFC 7239, section 4 and 7. */
static void reads_the_rfc(void)
{
    comes_to("Forwarded: for=\"_gazonk\"", "unknown 0 - - -");
    comes_to("Forwarded: for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60 0 http - -");
    comes_to("Forwarded: for=192.0.2.43, for=198.51.100.17", "198.51.100.17 0 - - -");
    comes_to("Forwarded: for=192.0.2.43, for=\"[2001:db8:1:17]\"", "unknown 0 - - -");
    comes_to("Forwarded: for=192.0.2.43,for=\"[2001:db8:1::17]\",for=unknown", "unknown 0 - - -");
    comes_to("Forwarded: for=_hidden, for=_SEVKISEK", "unknown 0 - - -");
    comes_to("Forwarded: for=192.0.2.43;host=a.test, for=\"10.0.0.1\";host=b.test;proto=http",
             "192.0.2.43 0 - a.test -");
    comes_to("Forwarded: FOR=192.0.2.43 ; Proto=HTTPS;secret=\"a,b;c=\\\"d\"",
             "192.0.2.43 0 https - -");
    comes_to("Forwarded: ;;for=192.0.2.43;", "192.0.2.43 0 - - -");
    comes_to("Forwarded: proto=https;host=\"a.test:8443\"", "- 0 https a.test:8443 -");
}

static void believes_nothing_malformed(void)
{
    comes_to("Forwarded: for=\"203.0.113.7", "unknown 0 - - -");
    comes_to("Forwarded: for=203.0.113.7;for=127.0.0.1", "unknown 0 - - -");
    comes_to("Forwarded: for", "unknown 0 - - -");
    comes_to("Forwarded: for=", "unknown 0 - - -");
    comes_to("Forwarded: for=a b", "unknown 0 - - -");
    comes_to("Forwarded: =x", "unknown 0 - - -");
    comes_to("Forwarded: \"for\"=10.0.0.1", "unknown 0 - - -");
    /* A quote opened by the client hides what the proxy adds in its line, but invents nothing; and
     * in a line of its own it hides nothing. */
    comes_to("Forwarded: for=127.0.0.1;x=\", for=203.0.113.7;proto=https", "unknown 0 - - -");
    comes_to("Forwarded: for=127.0.0.1;x=\"\nForwarded: for=203.0.113.7;proto=https",
             "203.0.113.7 0 https - -");
    comes_to("Forwarded: proto=gopher;for=203.0.113.7", "203.0.113.7 0 - - -");
    comes_to("X-Forwarded-Proto: https, gopher", "- 0 - - -");
    comes_to("X-Forwarded-Host: a.test/b", "- 0 - - -");
    comes_to("X-Forwarded-Host: user@a.test", "- 0 - - -");
    comes_to("X-Forwarded-Host: a.test\nX-Forwarded-Port: 0x50", "- 0 - a.test -");
}

static void pairs_the_others_with_the_hop(void)
{
    comes_to("X-Forwarded-Proto: https", "- 0 https - -");
    comes_to("X-Forwarded-Proto: wss", "- 0 https - -");
    comes_to("X-Forwarded-Proto: http, https", "- 0 https - -");
    comes_to("X-Forwarded-For: 203.0.113.7, 10.0.0.1\nX-Forwarded-Proto: https, http",
             "203.0.113.7 0 https - -");
    comes_to(
        "X-Forwarded-For: 1.1.1.1, 203.0.113.7, 10.0.0.1\nX-Forwarded-Proto: http, https, http",
        "203.0.113.7 0 https - -");
    comes_to("X-Forwarded-For: 203.0.113.7, 10.0.0.1\nX-Forwarded-Proto: https",
             "203.0.113.7 0 https - -");
    comes_to("X-Forwarded-For: 203.0.113.7\nX-Forwarded-Host: evil.test, good.test",
             "203.0.113.7 0 - good.test -");
    comes_to("X-Forwarded-Host: a.test\nX-Forwarded-Port: 8443\nX-Forwarded-Proto: https",
             "- 0 https a.test:8443 -");
    comes_to("X-Forwarded-Host: a.test\nX-Forwarded-Port: 443\nX-Forwarded-Proto: https",
             "- 0 https a.test -");
    comes_to("X-Forwarded-Host: a.test:8080\nX-Forwarded-Port: 9", "- 0 - a.test:8080 -");
    comes_to("X-Forwarded-Host: [::1]\nX-Forwarded-Port: 9", "- 0 - [::1]:9 -");
}

static void believes_two_families_where_they_agree(void)
{
    comes_to("Forwarded: for=203.0.113.7;proto=https;host=a.test\n"
             "X-Forwarded-For: 203.0.113.7\nX-Forwarded-Proto: https\nX-Forwarded-Host: A.test",
             "203.0.113.7 0 https a.test -");
    comes_to("Forwarded: for=127.0.0.1\nX-Forwarded-For: 203.0.113.7", "unknown 0 - - -");
    comes_to("Forwarded: for=203.0.113.7\nX-Forwarded-For: 127.0.0.1", "unknown 0 - - -");
    comes_to("Forwarded: for=203.0.113.7;proto=https\nX-Forwarded-Proto: http",
             "203.0.113.7 0 - - -");
    comes_to("Forwarded: host=a.test\nX-Forwarded-Host: b.test", "- 0 - - -");
    comes_to("Forwarded: proto=https\nX-Forwarded-For: 203.0.113.7", "203.0.113.7 0 https - -");
    comes_to("Forwarded: for=x\nX-Forwarded-For: 203.0.113.7", "unknown 0 - - -");
}

static void takes_a_prefix(void)
{
    comes_to("X-Forwarded-Prefix: /app", "- 0 - - /app");
    comes_to("X-Forwarded-Prefix: /app/v1/", "- 0 - - /app/v1");
    for (const char *const *wrong =
             (const char *const[]){"/", "app", "//app", "/a/../b", "/a//b", "/a%2fb", "/a?b",
                                   "/a b", "/.x", "http://a", NULL};
         *wrong; wrong++) {
        char line[60];
        snprintf(line, sizeof(line), "X-Forwarded-Prefix: %s", *wrong);
        comes_to(line, "- 0 - - -");
    }
}

/* More hops than are kept: the right ones are. */
static void bears_many_hops(void)
{
    char line[4000] = "X-Forwarded-For: 127.0.0.1";

    for (int i = 0; i < 200; i++)
        strcat(line, ", 192.0.2.1");
    strcat(line, ", 203.0.113.7, 10.0.0.1");
    comes_to(line, "203.0.113.7 0 - - -");
}

int main(void)
{
    walks_from_the_right();
    reads_nodes();
    reads_the_rfc();
    believes_nothing_malformed();
    pairs_the_others_with_the_hop();
    believes_two_families_where_they_agree();
    takes_a_prefix();
    bears_many_hops();
    return unit_done();
}
