/* The PROXY protocol: examples of its specification, every way of cutting them, and what is none.
 */
#include "unit.h"

#include "base/buf.h"
#include "proto/proxy.h"

#define SIGNATURE      "\r\n\r\n\0\r\nQUIT\n"
#define WHOLE(literal) ((rl_str){literal, sizeof(literal) - 1})

static void comes_to(rl_str in, const char *source, unsigned port, const char *to, unsigned to_port)
{
    char out[RL_HOST_MAX];
    rl_buf all = {0};
    rl_proxy p;
    rl_err err = {0};

    /* Byte by byte it is unfinished, and what follows makes no difference. */
    for (size_t n = 0; n < in.n; n++) {
        char *part = rl_malloc(n + 1);
        memcpy(part, in.p, n);
        CHECK_INT(rl_proxy_parse(&p, (rl_str){part, n}, NULL), 0);
        rl_free(part);
    }
    rl_buf_add_str(&all, in);
    rl_buf_add_str(&all, RL_STR("\x16\x03\x01GET / HTTP/1.1\r\n"));
    CHECK_INT(rl_proxy_parse(&p, rl_buf_str(&all), &err), in.n);
    rl_buf_fini(&all);
    CHECK_INT(p.local, source == NULL);
    if (!source)
        return;
    CHECK(strcmp(rl_address_text(&p.source, out), source) == 0);
    CHECK_INT(p.source.port, port);
    CHECK(strcmp(rl_address_text(&p.destination, out), to) == 0);
    CHECK_INT(p.destination.port, to_port);
}

static void refused(rl_str in)
{
    rl_proxy p;
    rl_err err = {0};

    CHECK(rl_proxy_parse(&p, in, &err) < 0);
    if (strncmp(err.msg, "bad PROXY header", 16) != 0)
        CHECK_MEM(err.msg, strlen(err.msg), "bad PROXY header");
}

static void reads_version_1(void)
{
    comes_to(RL_STR("PROXY TCP4 192.0.2.9 198.51.100.1 56324 443\r\n"), "192.0.2.9", 56324,
             "198.51.100.1", 443);
    comes_to(RL_STR("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
             "255.255.255.255", 65535, "255.255.255.255", 65535);
    comes_to(RL_STR("PROXY TCP6 2001:db8::1 ::1 0 1\r\n"), "2001:db8::1", 0, "::1", 1);
    comes_to(RL_STR("PROXY TCP6 ::ffff:192.0.2.1 ::1 4 1\r\n"), "192.0.2.1", 4, "::1", 1);
    comes_to(RL_STR("PROXY UNKNOWN\r\n"), NULL, 0, NULL, 0);
    /* The longest line there may be. */
    comes_to(RL_STR("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
                    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
             NULL, 0, NULL, 0);
}

static void refuses_broken_lines(void)
{
    static const char *const lines[] = {
        "GET / HTTP/1.1\r\n\r\n",
        "PROXY\r\n",
        "proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n",
        "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
        "PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP4 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4\r\n",
        "PROXY \r\n",
        "PROXY UNKNOWNS\r\n",
        ("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 655355\r\n"),
    };

    for (size_t i = 0; i < RL_COUNT(lines); i++)
        refused(rl_str_of(lines[i]));
    refused(WHOLE("PROXY TCP4 192.0.2.1\0 192.0.2.2 1 2\r\n"));
    refused(WHOLE("\0"));
    refused(WHOLE("PROXX"));
}

static void reads_version_2(void)
{
    comes_to(WHOLE(SIGNATURE "\x21\x11\0\x0c\xc0\0\x02\x09\xc6\x33\x64\x01\xdc\x04\x01\xbb"),
             "192.0.2.9", 56324, "198.51.100.1", 443);
    comes_to(WHOLE(SIGNATURE "\x21\x21\0\x24"
                             "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
                             "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\0\0\x50"),
             "2001:db8::1", 256, "::1", 80);
    /* LOCAL, with and without addresses to skip; UNSPEC. */
    comes_to(WHOLE(SIGNATURE "\x20\0\0\0"), NULL, 0, NULL, 0);
    comes_to(WHOLE(SIGNATURE "\x20\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\0\x01\0\x02"), NULL, 0, NULL,
             0);
    comes_to(WHOLE(SIGNATURE "\x20\xff\0\x03zzz"), NULL, 0, NULL, 0);
    comes_to(WHOLE(SIGNATURE "\x21\0\0\x02zz"), NULL, 0, NULL, 0);
    /* TLVs are skipped: ALPN "h2", an empty NOOP. */
    comes_to(WHOLE(SIGNATURE "\x21\x11\0\x14\xc0\0\x02\x09\xc6\x33\x64\x01\xdc\x04\x01\xbb"
                             "\x01\0\x02h2\x04\0\0"),
             "192.0.2.9", 56324, "198.51.100.1", 443);
}

static void knows_unix_sockets_of_others(void)
{
    char header[16 + 216] = SIGNATURE "\x21\x31\0\xd8/run/a.sock";
    rl_proxy p;

    CHECK_INT(rl_proxy_parse(&p, (rl_str){header, sizeof(header)}, NULL), sizeof(header));
    CHECK(!p.local);
    CHECK_INT(p.source.family, RL_ADDRESS_UNKNOWN);
    header[15] = (char)0xd7;
    refused((rl_str){header, sizeof(header) - 1});
}

/* The sum of the header with zeros where it stands, by an independent implementation. */
static void checks_a_checksum(void)
{
    char good[] = SIGNATURE "\x21\x11\0\x13\x7f\0\0\x01\x7f\0\0\x01\x04\xd2\x16\x2e"
                            "\x03\0\x04"
                            "\x05\xc9\xc5\xf6";
    rl_str in = {good, sizeof(good) - 1};

    comes_to(in, "127.0.0.1", 1234, "127.0.0.1", 5678);
    for (size_t bit = 0; bit < 32; bit++) {
        good[in.n - 4 + bit / 8] ^= (char)(1 << bit % 8);
        refused(in);
        good[in.n - 4 + bit / 8] ^= (char)(1 << bit % 8);
    }
    good[16] ^= 1; /* another address */
    refused(in);
}

static void refuses_broken_headers(void)
{
    refused(WHOLE(SIGNATURE "\x11\x11\0\x0c\xc0\0\x02\x09\xc6\x33\x64\x01\xdc\x04\x01\xbb"));
    refused(WHOLE(SIGNATURE "\x31"));
    refused(WHOLE(SIGNATURE "\x22"));
    refused(
        WHOLE(SIGNATURE "\x21\x12\0\x0c\xc0\0\x02\x09\xc6\x33\x64\x01\xdc\x04\x01\xbb")); /* UDP */
    refused(WHOLE(SIGNATURE "\x21\x41\0\0"));
    refused(WHOLE(SIGNATURE "\x21\x10\0\x0c\xc0\0\x02\x09\xc6\x33\x64\x01\xdc\x04\x01\xbb"));
    refused(WHOLE(SIGNATURE "\x21\x01\0\0"));
    refused(WHOLE(SIGNATURE "\x21\x11\0\x0b\xc0\0\x02\x09\xc6\x33\x64\x01\xdc\x04\x01"));
    refused(WHOLE(SIGNATURE "\x21\x21\0\x0c\xc0\0\x02\x09\xc6\x33\x64\x01\xdc\x04\x01\xbb"));
    /* TLVs that do not fit. */
    refused(WHOLE(SIGNATURE "\x21\x11\0\x0e\xc0\0\x02\x09\xc6\x33\x64\x01\xdc\x04\x01\xbb\x01\0"));
    refused(
        WHOLE(SIGNATURE "\x21\x11\0\x0f\xc0\0\x02\x09\xc6\x33\x64\x01\xdc\x04\x01\xbb\x01\0\1"));
    refused(WHOLE(SIGNATURE "\x21\x11\0\x12\xc0\0\x02\x09\xc6\x33\x64\x01\xdc\x04\x01\xbb"
                            "\x03\0\x03zzz"));
    /* Too long to wait for. */
    refused(WHOLE(SIGNATURE "\x21\x11\xff\xff"));
}

int main(void)
{
    reads_version_1();
    refuses_broken_lines();
    reads_version_2();
    knows_unix_sockets_of_others();
    checks_a_checksum();
    refuses_broken_headers();
    return unit_done();
}
