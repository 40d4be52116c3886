/* Addresses as text, and sets of them. */
#include "unit.h"

#include "base/networks.h"

static rl_address address(const char *text)
{
    rl_address a = {.family = RL_ADDRESS_UNKNOWN};

    CHECK(rl_address_parse(&a, rl_str_of(text)));
    return a;
}

static void reads_what_it_writes(void)
{
    static const char *const same[] = {
        "127.0.0.1", "0.0.0.0", "255.255.255.255", "::", "::1", "2001:db8::7:0:1", "fe80::ffff"};
    char out[RL_HOST_MAX];

    for (size_t i = 0; i < RL_COUNT(same); i++) {
        rl_address a = address(same[i]);
        CHECK(strcmp(rl_address_text(&a, out), same[i]) == 0);
    }
    rl_address unix_peer = {.family = RL_ADDRESS_UNIX};
    CHECK(strcmp(rl_address_text(&unix_peer, out), "") == 0);
}

static void knows_one_machine_by_one_name(void)
{
    char out[RL_HOST_MAX];
    rl_address a = address("::ffff:192.0.2.1");

    CHECK_INT(a.family, RL_ADDRESS_IPV4);
    CHECK(strcmp(rl_address_text(&a, out), "192.0.2.1") == 0);
    a = address("::192.0.2.1"); /* compatible is not mapped */
    CHECK_INT(a.family, RL_ADDRESS_IPV6);
}

static void refuses_what_is_no_address(void)
{
    static const char *const wrong[] = {"",           "1",        "1.2.3",     "1.2.3.4.5",
                                        "256.1.1.1",  "01.2.3.4", "1.2.3.4 ",  " 1.2.3.4",
                                        "1.2.3.4:80", "[::1]",    "::1%lo",    ":::",
                                        "1::2::3",    "12345::",  "localhost", "0x7f.1.1.1"};
    rl_address a;

    for (size_t i = 0; i < RL_COUNT(wrong); i++)
        if (rl_address_parse(&a, rl_str_of(wrong[i])))
            CHECK_MEM("taken for an address", 20, wrong[i]);
    CHECK(!rl_address_parse(&a, (rl_str){"1.2.3.4\0x", 9}));
}

static bool has(const char *words, const char *one)
{
    rl_networks set = {0};
    rl_address a = address(one);

    CHECK_INT(rl_networks_add(&set, rl_str_of(words), NULL), 0);
    bool found = rl_networks_has(&set, &a);
    rl_networks_fini(&set);
    return found;
}

static void knows_who_is_in(void)
{
    CHECK(has("10.0.0.0/8", "10.255.0.1"));
    CHECK(!has("10.0.0.0/8", "11.0.0.1"));
    CHECK(has("10.1.2.3", "10.1.2.3"));
    CHECK(!has("10.1.2.3", "10.1.2.2"));
    CHECK(has("10.1.2.2/31", "10.1.2.3"));
    CHECK(!has("10.1.2.2/31", "10.1.2.4"));
    CHECK(has("172.16.0.0/12", "172.31.255.255"));
    CHECK(!has("172.16.0.0/12", "172.32.0.0"));
    CHECK(has("0.0.0.0/0", "203.0.113.9"));
    CHECK(!has("0.0.0.0/0", "2001:db8::1"));
    CHECK(has("::/0", "2001:db8::1"));
    CHECK(!has("::/0", "203.0.113.9"));
    CHECK(has("2001:db8::/33", "2001:db8:7fff::1"));
    CHECK(!has("2001:db8::/33", "2001:db8:8000::1"));
    CHECK(has("::ffff:10.0.0.0/104", "10.9.9.9"));
    CHECK(has("10.0.0.0/8", "::ffff:10.0.0.1"));
    CHECK(has("loopback", "127.9.9.9") && has("loopback", "::1"));
    CHECK(!has("loopback", "128.0.0.1") && !has("loopback", "::2"));
    CHECK(has("private", "192.168.3.4") && has("private", "fd00::1"));
    CHECK(!has("private", "127.0.0.1") && !has("private", "fe80::1"));
    CHECK(has("192.0.2.1, loopback 2001:db8::1", "2001:db8::1"));
    CHECK(!has("", "127.0.0.1"));
    CHECK(!has("unix", "127.0.0.1"));
}

static void tells_unix_peers_from_unknown_ones(void)
{
    rl_networks set = {0};
    rl_address local = {.family = RL_ADDRESS_UNIX}, unknown = {.family = RL_ADDRESS_UNKNOWN};

    CHECK(rl_networks_empty(&set));
    CHECK(!rl_networks_has(&set, &local));
    CHECK_INT(rl_networks_add(&set, RL_STR("0.0.0.0/0,::/0"), NULL), 0);
    CHECK(!rl_networks_has(&set, &local));
    CHECK_INT(rl_networks_add(&set, RL_STR("unix"), NULL), 0);
    CHECK(!rl_networks_empty(&set));
    CHECK(rl_networks_has(&set, &local));
    CHECK(!rl_networks_has(&set, &unknown));
    rl_networks_fini(&set);
}

static void refuses_what_is_no_network(void)
{
    static const char *const wrong[] = {"10.0.0.1/8",   "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1",
                                        "10.0.0.0/8/8", "::/129",      "Loopback",  "example.com",
                                        "10.0.0.0/0",   "::1/64",      "*",         "2001:db8::/a"};

    for (size_t i = 0; i < RL_COUNT(wrong); i++) {
        rl_networks set = {0};
        rl_err err = {0};
        CHECK_INT(rl_networks_add(&set, rl_str_of(wrong[i]), &err), RL_ESYNTAX);
        CHECK(strstr(err.msg, wrong[i]) != NULL);
        CHECK(rl_networks_empty(&set));
        rl_networks_fini(&set);
    }
}

int main(void)
{
    reads_what_it_writes();
    knows_one_machine_by_one_name();
    refuses_what_is_no_address();
    knows_who_is_in();
    tells_unix_peers_from_unknown_ones();
    refuses_what_is_no_network();
    return unit_done();
}
