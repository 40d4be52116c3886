/* Forwarded headers, a line each: "F", "4" (for), "P", "H", "p" (port) or "X" (prefix) and a value.
 * Whatever stands to the left of an address nobody trusts makes no difference. */
#include "fuzz.h"

#include "proto/forwarded.h"

#define MUST(cond) ((cond) ? (void)0 : (fprintf(stderr, "not so: %s\n", #cond), abort()))

static void put(rl_http_head *head, const char *name, rl_str value)
{
    rl_http_put_field(head);
    rl_http_put_name(head, rl_str_of(name));
    rl_http_put_value(head, value);
    rl_http_put_end(head);
}

static const char *name_of(char c)
{
    switch (c) {
    case 'F':
        return "forwarded";
    case 'P':
        return "x-forwarded-proto";
    case 'H':
        return "x-forwarded-host";
    case 'p':
        return "x-forwarded-port";
    case 'X':
        return "x-forwarded-prefix";
    default:
        return "x-forwarded-for";
    }
}

static void check(const rl_forwarded *f)
{
    rl_address again;
    char text[RL_HOST_MAX];

    if (rl_address_is_ip(&f->client)) {
        rl_address_text(&f->client, text);
        MUST(rl_address_parse(&again, rl_str_of(text)));
        MUST(again.family == f->client.family && !memcmp(again.bytes, f->client.bytes, 16));
    } else {
        MUST(f->client.family == RL_ADDRESS_UNKNOWN);
    }
    MUST(strlen(f->host) < sizeof(f->host) && strlen(f->prefix) < sizeof(f->prefix));
    MUST(!strpbrk(f->host, "/@ ,\"\\\r\n"));
    MUST(!*f->prefix ||
         (f->prefix[0] == '/' && !strstr(f->prefix, "//") && !strstr(f->prefix, "/.")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rl_str rest = {(const char *)data, size}, line;
    rl_http_head head = {0};
    rl_networks trusted = {0};
    rl_forwarded f;
    bool other = false;

    MUST(rl_networks_add(&trusted, RL_STR("10.0.0.0/8 loopback"), NULL) == 0);
    while (rl_str_cut(&rest, '\n', &line)) {
        if (!line.n)
            continue;
        const char *name = name_of(line.p[0]);
        other |= line.p[0] == 'F';
        put(&head, name, (rl_str){line.p + 1, line.n - 1});
    }
    if (rl_forwarded_read(&f, &head, &trusted))
        check(&f);

    /* Our own proxy adds whom it saw, and another of ours whom it saw: */
    put(&head, "x-forwarded-for", RL_STR("203.0.113.7"));
    put(&head, "x-forwarded-for", RL_STR("10.0.0.1"));
    MUST(rl_forwarded_read(&f, &head, &trusted));
    check(&f);
    char text[RL_HOST_MAX];
    bool found = strcmp(rl_address_text(&f.client, text), "203.0.113.7") == 0;
    MUST(found || (other && f.client.family == RL_ADDRESS_UNKNOWN));
    rl_http_head_fini(&head);
    rl_networks_fini(&trusted);
    return 0;
}
