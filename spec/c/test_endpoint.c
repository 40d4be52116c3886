/* Addresses to listen on, as people write them. */
#include "unit.h"

#include "io/endpoint.h"

static rl_endpoint read(const char *text)
{
    rl_endpoint e;
    rl_err err = {0};

    CHECK_INT(rl_endpoint_parse(&e, text, &err), 0);
    if (*err.msg)
        printf("%s\n", err.msg);
    return e;
}

static void refused(const char *text, const char *why)
{
    rl_endpoint e;
    rl_err err = {0};

    CHECK(rl_endpoint_parse(&e, text, &err) < 0);
    CHECK(strstr(err.msg, text) != NULL);
    if (!strstr(err.msg, why))
        CHECK_MEM(err.msg, strlen(err.msg), why);
}

static void reads_ip_addresses(void)
{
    char out[RL_HOST_MAX];
    rl_endpoint e = read("127.0.0.1:8000");

    CHECK_INT(e.kind, RL_ENDPOINT_IP);
    CHECK_INT(e.address.port, 8000);
    CHECK(!e.tls);
    CHECK(strcmp(rl_address_text(&e.address, out), "127.0.0.1") == 0);
    e = read("tls:[2001:db8::1]:0");
    CHECK_INT(e.kind, RL_ENDPOINT_IP);
    CHECK(e.tls);
    CHECK(strcmp(rl_address_text(&e.address, out), "2001:db8::1") == 0);
    e = read("[fe80::1%1]:80");
    CHECK_INT(e.scope, 1);
    CHECK_INT(read(":80").kind, RL_ENDPOINT_ANY);
    CHECK_INT(read("*:80").kind, RL_ENDPOINT_ANY);
    CHECK_INT(read("[::]:80").kind, RL_ENDPOINT_ANY);
    CHECK(!read("[::]:80").v6only);
    CHECK(read("[::]:80,v6only").v6only);
    CHECK(!read("[::]:80,v6only").proxied);
    CHECK(read("[::]:80,v6only,proxy").proxied);
    CHECK_INT(read("0.0.0.0:80").kind, RL_ENDPOINT_IP);
    CHECK_INT(read("localhost:80").kind, RL_ENDPOINT_LOCALHOST);
}

static void reads_what_is_no_ip_address(void)
{
    rl_endpoint e = read("tls:unix:/run/a.sock,mode=0660,user=0,group=12");

    CHECK_INT(e.kind, RL_ENDPOINT_UNIX);
    CHECK(strcmp(e.name, "/run/a.sock") == 0);
    CHECK_INT(e.mode, 0660);
    CHECK_INT(e.user, 0);
    CHECK_INT(e.group, 12);
    CHECK(read("unix:x").mode == RL_ENDPOINT_UNSET);
    CHECK(strcmp(read("unix:@a").name, "@a") == 0);
    CHECK_INT(read("unix:/x,user=root").user, 0);
    CHECK_INT(read("fd:7").fd, 7);
    CHECK_INT(read("systemd").kind, RL_ENDPOINT_SYSTEMD);
    CHECK(strcmp(read("systemd:web").name, "web") == 0);
}

static void refuses_the_rest(void)
{
    refused("unix:/tmp/x,mod=600", "no option 'mod'");
    refused("unix:/tmp/x,mode=888", "mode is octal");
    refused("unix:/tmp/x,mode=1777", "mode is octal");
    refused("unix:/tmp/x,mode", "want mode=VALUE");
    refused("unix:/tmp/x,", "no option ''");
    refused("unix:/tmp/x,group=no-such-group", "no group 'no-such-group'");
    refused("unix:/tmp/x,user=no-such-user", "no user 'no-such-user'");
    refused("unix:/tmp/x,v6only", "no option of such an address");
    refused("unix:@x,mode=600", "no option of such an address");
    refused("unix:", "1 to 107 bytes");
    refused("unix:@", "a name is missing");
    refused("127.0.0.1:80,mode=600", "no option of such an address");
    refused("[::]:0,v6only=1", "takes no value");
    refused("127.0.0.1:80,proxy=1", "takes no value");
    refused("proxy:127.0.0.1:80", "IPv6 goes in brackets");
    refused("", "want HOST:PORT");
    refused("tls:", "want HOST:PORT");
    refused("80", "want HOST:PORT");
    refused("127.0.0.1:99999", "want HOST:PORT");
    refused("127.0.0.1:http", "want HOST:PORT");
    refused("[::1]", "want HOST:PORT");
    refused("::1:8000", "IPv6 goes in brackets");
    refused("[127.0.0.1]:0", "no IPv6 address in the brackets");
    refused("[::ffff:127.0.0.1]:0", "written without brackets");
    refused("[]:0", "no IPv6 address in the brackets");
    refused("[:0", "IPv6 goes in brackets");
    refused("[fe80::1%nowhere0]:0", "no interface 'nowhere0'");
    refused("example.com:0", "not an IP address");
    refused("fd:x", "want fd:NUMBER");
    refused("systemd:", "1 to 107 bytes");
}

int main(void)
{
    reads_ip_addresses();
    reads_what_is_no_ip_address();
    refuses_the_rest();
    return unit_done();
}
