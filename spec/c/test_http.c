/* HTTP/1 requests, the WebSocket's opening handshake, and heads of responses. */
#include "unit.h"

#include "../support/trace.h"

#include "proto/http_write.h"
#include "proto/ws_shake.h"

/* The stream must read as `want` whole, byte by byte, cut in two anywhere, and with
 * empty reads between. */
static void expect(const rl_http_limits *limits, rl_str in, const char *want, int line)
{
    static const size_t patterns[][3] = {{1, 1, 1}, {2, 0, 1}, {3, 5, 7}};

    for (size_t cut = 0; cut <= in.n; cut++) {
        rl_buf got = {0};
        size_t sizes[] = {cut, in.n};
        trace_http(&got, limits, in, (trace_cuts){sizes, 2});
        unit_check_mem(rl_buf_str(&got).p, got.len, want, strlen(want), "cut in two", __FILE__,
                       line);
        rl_buf_fini(&got);
    }
    for (size_t i = 0; i < RL_COUNT(patterns); i++) {
        rl_buf got = {0};
        trace_http(&got, limits, in, (trace_cuts){patterns[i], 3});
        unit_check_mem(rl_buf_str(&got).p, got.len, want, strlen(want), "in small pieces", __FILE__,
                       line);
        rl_buf_fini(&got);
    }
}

#define EXPECT(in, want) expect(NULL, RL_STR(in), want, __LINE__)

/* The first event but a head is an error of this status, however the stream is cut. */
static void refuses(const rl_http_limits *limits, rl_str in, int status, int line)
{
    rl_buf got = {0};
    char want[32];

    trace_http(&got, limits, in, (trace_cuts){&in.n, 1});
    const char *text = rl_buf_cstr(&got);
    snprintf(want, sizeof(want), "\nerror %d", status);
    unit_check(strstr(text, want) != NULL && !strstr(text, "done"), want, __FILE__, line);
    if (!strstr(text, want) || strstr(text, "done"))
        printf("  of %.*s\n  got %s\n", (int)in.n, in.p, text);
    expect(limits, in, text, line);
    rl_buf_fini(&got);
}

#define REFUSES(status, in) refuses(NULL, RL_STR(in), status, __LINE__)
#define GET                 "GET / HTTP/1.1\r\n"
#define HOST                "Host: a\r\n"
#define POST                "POST / HTTP/1.1\r\nHost: a\r\n"
#define CHUNKED             POST "Transfer-Encoding: chunked\r\n\r\n"

static void reads_a_head(void)
{
    EXPECT("GET /a%20b?c=d HTTP/1.1\r\nHost: example.org:80\r\nX-Odd:  \t two words \t \r\n"
           "Empty:\r\nCookie: a=1\r\ncookie: b=2\r\n\r\n",
           "GET /a%20b?c=d 1.1 keep=1 upgrade=0 expect=0 chunked=0 length=0\n"
           "host=example.org:80\nx-odd=two words\nempty=\ncookie=a=1\ncookie=b=2\n\ndone\n");
    EXPECT("\r\n\r\n" GET HOST "\r\n",
           "GET / 1.1 keep=1 upgrade=0 expect=0 chunked=0 length=0\nhost=a\n\ndone\n");
    EXPECT(GET HOST "Name: caf\xc3\xa9\r\n\r\n", "GET / 1.1 keep=1 upgrade=0 expect=0 chunked=0 "
                                                 "length=0\nhost=a\nname=caf\xc3\xa9\n\ndone\n");
}

static void knows_whether_to_keep_the_connection(void)
{
    EXPECT(GET HOST "Connection: close\r\n\r\n", "GET / 1.1 keep=0 upgrade=0 expect=0 chunked=0 "
                                                 "length=0\nhost=a\nconnection=close\n\ndone\n");
    EXPECT("GET / HTTP/1.0\r\n\r\n",
           "GET / 1.0 keep=0 upgrade=0 expect=0 chunked=0 length=0\n\ndone\n");
    EXPECT("GET / HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n",
           "GET / 1.0 keep=1 upgrade=0 expect=0 chunked=0 length=0\nconnection=x, "
           "Keep-Alive\n\ndone\n");
}

static void reads_a_body_of_known_length(void)
{
    EXPECT(POST "Content-Length: 5\r\nExpect: 100-Continue\r\n\r\nhello",
           "POST / 1.1 keep=1 upgrade=0 expect=1 chunked=0 length=5\n"
           "host=a\ncontent-length=5\nexpect=100-Continue\nhello\ndone\n");
    EXPECT(POST "Content-Length: 0\r\n\r\n", "POST / 1.1 keep=1 upgrade=0 expect=0 chunked=0 "
                                             "length=0\nhost=a\ncontent-length=0\n\ndone\n");
}

static void reads_a_body_in_chunks(void)
{
    EXPECT(POST "Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n006;x=\"y\"\r\n world\r\n0\r\n"
                "Digest:  x \r\nEmpty:\r\n\r\n",
           "POST / 1.1 keep=1 upgrade=0 expect=0 chunked=1 length=0\n"
           "host=a\ntransfer-encoding=Chunked\nhello world\ndone\n"
           "digest=x\nempty=\n");
}

static void reads_requests_one_after_another(void)
{
    EXPECT(POST "Content-Length: 2\r\n\r\nab" GET HOST "\r\n" CHUNKED "1\r\nc\r\n0\r\n\r\n"
                "GET /last HTTP/1.1\r\nHost: b\r\n\r\n",
           "POST / 1.1 keep=1 upgrade=0 expect=0 chunked=0 "
           "length=2\nhost=a\ncontent-length=2\nab\ndone\n"
           "GET / 1.1 keep=1 upgrade=0 expect=0 chunked=0 length=0\nhost=a\n\ndone\n"
           "POST / 1.1 keep=1 upgrade=0 expect=0 chunked=1 "
           "length=0\nhost=a\ntransfer-encoding=chunked\nc\ndone\n"
           "GET /last 1.1 keep=1 upgrade=0 expect=0 chunked=0 length=0\nhost=b\n\ndone\n");
}

/* An upgrade that nobody wanted is an ordinary request. */
static void goes_on_behind_an_upgrade(void)
{
    EXPECT(GET HOST "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n" GET HOST "\r\n",
           "GET / 1.1 keep=1 upgrade=1 expect=0 chunked=0 "
           "length=0\nhost=a\nconnection=Upgrade\nupgrade=h2c\n\ndone\n"
           "GET / 1.1 keep=1 upgrade=0 expect=0 chunked=0 length=0\nhost=a\n\ndone\n");
    EXPECT(POST "Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nab" GET HOST
                "\r\n",
           "POST / 1.1 keep=1 upgrade=1 expect=0 chunked=0 length=2\n"
           "host=a\nconnection=Upgrade\nupgrade=h2c\ncontent-length=2\nab\ndone\n"
           "GET / 1.1 keep=1 upgrade=0 expect=0 chunked=0 length=0\nhost=a\n\ndone\n");
}

static void leaves_what_lies_behind_the_head(void)
{
    static const char in[] = GET HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x80";
    rl_http *h = rl_http_new(NULL);
    rl_http_head head = {0};
    rl_http_event ev;

    CHECK_INT(rl_http_feed(h, in, sizeof(in) - 1, &ev), sizeof(in) - 3);
    CHECK_INT(ev.type, RL_HTTP_HEAD);
    rl_http_swap_head(h, &head);
    rl_http_free(h);
    CHECK(head.upgrade && rl_http_field_count(&head) == 3); /* it outlives the parser */
    CHECK(rl_str_eq(rl_http_field_at(&head, 2).name, RL_STR("upgrade")));
    rl_http_head_fini(&head);
}

static void takes_what_a_target_may_be(void)
{
    EXPECT(
        "GET http://A:80/x HTTP/1.1\r\nHost: a:80\r\n\r\n",
        "GET http://A:80/x 1.1 keep=1 upgrade=0 expect=0 chunked=0 length=0\nhost=a:80\n\ndone\n");
    EXPECT("OPTIONS * HTTP/1.1\r\n" HOST "\r\n",
           "OPTIONS * 1.1 keep=1 upgrade=0 expect=0 chunked=0 length=0\nhost=a\n\ndone\n");
    REFUSES(400, "GET http://b/x HTTP/1.1\r\n" HOST "\r\n"); /* which host is it? */
    REFUSES(400, "GET http://a@b/x HTTP/1.1\r\nHost: b\r\n\r\n");
    REFUSES(400, "GET ftp://a/x HTTP/1.1\r\n" HOST "\r\n");
    REFUSES(400, "GET * HTTP/1.1\r\n" HOST "\r\n");
    REFUSES(400, "GET a:80 HTTP/1.1\r\n" HOST "\r\n");
    REFUSES(400, "GET a HTTP/1.1\r\n" HOST "\r\n");
    REFUSES(400, "GET /#f HTTP/1.1\r\n" HOST "\r\n");
    REFUSES(400, "GET /caf\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n");
    REFUSES(400, "GET /?\xff HTTP/1.1\r\n" HOST "\r\n");
    REFUSES(400, "GET /\x7f HTTP/1.1\r\n" HOST "\r\n");
    REFUSES(400, "GET /a\tb HTTP/1.1\r\n" HOST "\r\n");
    REFUSES(501, "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n");
}

static void refuses_a_request_line_that_is_none(void)
{
    REFUSES(400, "GET  / HTTP/1.1\r\n" HOST "\r\n");
    REFUSES(400, "GET /  HTTP/1.1\r\n" HOST "\r\n");
    REFUSES(400, "GET / HTTP/1.1 \r\n" HOST "\r\n");
    REFUSES(400, " GET / HTTP/1.1\r\n" HOST "\r\n");
    REFUSES(400, "GET /\r\n\r\n");
    REFUSES(400, "GET  HTTP/1.1\r\n" HOST "\r\n");
    REFUSES(400, "GET / RTSP/1.0\r\n" HOST "\r\n");
    REFUSES(400, "SOURCE / ICE/1.0\r\n" HOST "\r\n");
    REFUSES(400, "GET / http/1.1\r\n" HOST "\r\n");
    REFUSES(400, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc"); /* TLS, knocking at the wrong door */
    REFUSES(501, "BREW / HTTP/1.1\r\n" HOST "\r\n");
    REFUSES(501, "get / HTTP/1.1\r\n" HOST "\r\n");
    REFUSES(505, "GET / HTTP/1.2\r\n" HOST "\r\n");
    REFUSES(505, "GET / HTTP/2.0\r\n" HOST "\r\n");
    REFUSES(505, "GET / HTTP/0.9\r\n" HOST "\r\n");
    REFUSES(505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
}

static void refuses_lines_that_do_not_end_in_cr_lf(void)
{
    REFUSES(400, "GET / HTTP/1.1\n" HOST "\r\n");
    REFUSES(400, GET "Host: a\n\r\n");
    REFUSES(400, GET HOST "\n");
    REFUSES(400, GET "Host: a\rX: b\r\n\r\n");
    REFUSES(400, GET HOST "\r\r\n");
    REFUSES(400, "\n" GET HOST "\r\n");
    REFUSES(400, CHUNKED "1\na\r\n0\r\n\r\n");
    REFUSES(400, CHUNKED "1;x\na\r\n0\r\n\r\n");
    REFUSES(400, CHUNKED "1\r\na\n0\r\n\r\n");
    REFUSES(400, CHUNKED "0\r\n\n");
    REFUSES(400, CHUNKED "0\r\nT: x\n\r\n");
    REFUSES(400, CHUNKED "0\r\nT: x\r\n\n");
}

static void refuses_headers_that_are_none(void)
{
    REFUSES(400, GET HOST "X : a\r\n\r\n");
    REFUSES(400, GET HOST ": a\r\n\r\n");
    REFUSES(400, GET HOST "X\r\n\r\n");
    REFUSES(400, GET HOST "X@: a\r\n\r\n");
    REFUSES(400, GET HOST "caf\xc3\xa9: a\r\n\r\n");
    REFUSES(400, GET HOST "X: a\r\n b\r\n\r\n");
    REFUSES(400, GET HOST "X: a\r\n\tb\r\n\r\n");
    REFUSES(400, GET " Host: a\r\n\r\n");
}

static void refuses_control_characters(void)
{
    for (int c = 0; c < 256; c++) {
        bool wrong = (c < 0x20 && c != '\t') || c == 0x7f || c == 0x85;
        rl_buf in = {0}, got = {0};

        rl_buf_printf(&in, GET HOST "X: a%c%cb\r\n\r\n", c ? c : '_', c ? c : '_');
        if (c == 0)
            *(char *)memchr(in.data, '_', in.len) = '\0';
        if (wrong)
            refuses(NULL, rl_buf_str(&in), 400, __LINE__);
        else
            trace_http(&got, NULL, rl_buf_str(&in), (trace_cuts){&in.len, 1});
        unit_check(wrong || strstr(rl_buf_cstr(&got), "done"), "a harmless byte is let in",
                   __FILE__, __LINE__);
        rl_buf_fini(&in);
        rl_buf_fini(&got);
    }
}

static void wants_one_host(void)
{
    REFUSES(400, GET "\r\n");
    REFUSES(400, GET HOST HOST "\r\n");
    REFUSES(400, "GET / HTTP/1.0\r\n" HOST HOST "\r\n");
    REFUSES(400, GET "Host: a b\r\n\r\n");
    REFUSES(400, GET "Host: a/b\r\n\r\n");
    REFUSES(400, GET "Host: user@a\r\n\r\n");
    EXPECT(GET "Host:\r\n\r\n", /* RFC 9110 section 7.2: when there is no authority */
           "GET / 1.1 keep=1 upgrade=0 expect=0 chunked=0 length=0\nhost=\n\ndone\n");
}

static void refuses_bodies_of_doubtful_length(void)
{
    REFUSES(400, POST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    REFUSES(400, POST "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n");
    REFUSES(400, POST "Content-Length: 1\r\nContent-Length: 1\r\n\r\na");
    REFUSES(400, POST "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab");
    REFUSES(400, POST "Content-Length: 1, 1\r\n\r\na");
    REFUSES(400, POST "Content-Length: +1\r\n\r\na");
    REFUSES(400, POST "Content-Length: -1\r\n\r\na");
    REFUSES(400, POST "Content-Length: 0x1\r\n\r\na");
    REFUSES(400, POST "Content-Length: 1 1\r\n\r\na");
    REFUSES(400, POST "Content-Length:\r\n\r\n");
    REFUSES(400, POST "Content-Length: 18446744073709551617\r\n\r\na");
    REFUSES(400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    REFUSES(501, POST "Transfer-Encoding: gzip\r\n\r\n");
    REFUSES(501, POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n");
    REFUSES(501, POST "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n");
    REFUSES(501, POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n");
    REFUSES(501, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    REFUSES(501, POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n");
    REFUSES(501, POST "Transfer-Encoding: identity\r\n\r\n");
    REFUSES(501, POST "Transfer-Encoding:\r\n\r\n");
}

static void refuses_chunks_that_are_none(void)
{
    REFUSES(400, CHUNKED "x\r\n");
    REFUSES(400, CHUNKED "-1\r\n");
    REFUSES(400, CHUNKED "\r\n");
    REFUSES(400, CHUNKED "1 \r\na\r\n0\r\n\r\n");
    REFUSES(400, CHUNKED "1\r\nab\r\n0\r\n\r\n");
    REFUSES(400, CHUNKED "10000000000000000\r\n");
    REFUSES(413, CHUNKED "ffffffffffffffff\r\n");
}

/* They are held to the grammar of a head, and may not say what it says. */
static void refuses_trailers_that_are_none(void)
{
    REFUSES(400, CHUNKED "0\r\nA: b\r\n c\r\n\r\n");
    REFUSES(400, CHUNKED "0\r\nA: b\n\r\n");
    REFUSES(400, CHUNKED "0\r\nA: b\r\n\n");
    REFUSES(400, CHUNKED "0\r\nA : b\r\n\r\n");
    REFUSES(400, CHUNKED "0\r\n: b\r\n\r\n");
    REFUSES(400, CHUNKED "0\r\nA: \x01\r\n\r\n");
    REFUSES(400, CHUNKED "0\r\nContent-Length: 1\r\n\r\n");
    REFUSES(400, CHUNKED "0\r\nTransfer-Encoding: chunked\r\n\r\n");
    REFUSES(400, CHUNKED "0\r\nHost: b\r\n\r\n");
}

static void knows_one_expectation(void)
{
    REFUSES(417, POST "Expect: tea\r\n\r\n");
    REFUSES(417, POST "Expect: 100-continue, tea\r\n\r\n");
    REFUSES(417, POST "Expect: 100-continue\r\nExpect: tea\r\n\r\n");
    EXPECT("GET / HTTP/1.0\r\nExpect: tea\r\n\r\n",
           "GET / 1.0 keep=0 upgrade=0 expect=0 chunked=0 length=0\nexpect=tea\n\ndone\n");
}

static void keeps_to_the_limits(void)
{
    static const rl_http_limits small = {
        .max_head = 64, .max_target = 8, .max_fields = 2, .max_body = 4};

#define SMALL(status, in) refuses(&small, RL_STR(in), status, __LINE__)
    expect(&small, RL_STR("POST /234567 HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nabcd"),
           "POST /234567 1.1 keep=1 upgrade=0 expect=0 chunked=0 length=4\n"
           "host=a\ncontent-length=4\nabcd\ndone\n",
           __LINE__);
    SMALL(414, "GET /23456789 HTTP/1.1\r\n" HOST "\r\n");
    SMALL(431, GET HOST "a:\r\nb:\r\n\r\n");
    SMALL(431, GET HOST "a: 45678901234567890123456789012345678901234567890\r\n\r\n");
    SMALL(413, POST "Content-Length: 5\r\n\r\n");
    SMALL(413, CHUNKED "5\r\n");
    SMALL(431, CHUNKED "0\r\na:\r\nb:\r\nc:\r\n\r\n");
    SMALL(413, CHUNKED "2\r\nab\r\n2\r\ncd\r\n1\r\n");
#undef SMALL

    rl_buf in = {0};
    rl_buf_printf(&in, "GET /%08192d HTTP/1.1\r\n", 0);
    refuses(NULL, rl_buf_str(&in), 414, __LINE__);
    rl_buf_clear(&in);
    rl_buf_printf(&in, GET HOST);
    for (int i = 0; i < 99; i++)
        rl_buf_printf(&in, "n: 1\r\n");
    size_t all = in.len;
    rl_buf_printf(&in, "\r\n");
    rl_buf got = {0};
    trace_http(&got, NULL, rl_buf_str(&in), (trace_cuts){&in.len, 1});
    CHECK(strstr(rl_buf_cstr(&got), "done") != NULL);
    rl_buf_fini(&got);
    in.len = all;
    rl_buf_printf(&in, "n: 1\r\n\r\n");
    refuses(NULL, rl_buf_str(&in), 431, __LINE__);
    rl_buf_fini(&in);
}

/* Neither endless extensions, nor zeros before a size, nor trailers. */
static void bounds_the_framing_of_chunks(void)
{
    static const struct {
        const char *begin;
        int status;
    } cases[] = {{CHUNKED "1;x=", 400}, {CHUNKED "0", 400}, {CHUNKED "0\r\nT: ", 431}};
    static const rl_http_limits limits = {.max_head = 128};

    for (size_t i = 0; i < RL_COUNT(cases); i++) {
        rl_buf in = {0};
        rl_buf_printf(&in, "%s%0200d", cases[i].begin, 0);
        refuses(&limits, rl_buf_str(&in), cases[i].status, __LINE__);
        rl_buf_fini(&in);
    }

    rl_buf in = {0}, got = {0};
    rl_buf_printf(&in, CHUNKED);
    for (int i = 0; i < 1000; i++)
        rl_buf_printf(&in, "1\r\na\r\n");
    rl_buf_printf(&in, "0\r\n\r\n");
    trace_http(&got, &limits, rl_buf_str(&in), (trace_cuts){&in.len, 1});
    CHECK(strstr(rl_buf_cstr(&got), "\ndone\n") != NULL);
    rl_buf_fini(&in);
    rl_buf_fini(&got);
}

static void swallows_what_follows_an_error(void)
{
    rl_http *h = rl_http_new(NULL);
    rl_http_event ev;

    CHECK_INT(rl_http_feed(h, "\x01" GET, 5, &ev), 5);
    CHECK_INT(ev.type, RL_HTTP_ERROR);
    CHECK_INT(rl_http_feed(h, GET HOST "\r\n", 27, &ev), 27);
    CHECK_INT(ev.type, RL_HTTP_NONE);
    rl_http_free(h);
    rl_http_free(NULL);
}

static void finds_headers(void)
{
    rl_http *h = rl_http_new(NULL);
    rl_http_event ev;
    rl_str value;
    static const char in[] =
        GET HOST "Accept: a\r\nACCEPT: b, C\r\nHostess: x\r\nConnection: keep-alive\r\n\r\n";

    rl_http_feed(h, in, sizeof(in) - 1, &ev);
    const rl_http_head *head = rl_http_head_of(h);
    CHECK(rl_http_field_get(head, RL_STR("accept"), &value) && rl_str_eq(value, RL_STR("a")));
    CHECK(!rl_http_field_get(head, RL_STR("hos"), &value));
    CHECK_INT(rl_http_field_times(head, RL_STR("accept")), 2);
    CHECK(rl_http_field_lists(head, RL_STR("accept"), RL_STR("c")));
    CHECK(!rl_http_field_lists(head, RL_STR("accept"), RL_STR("x")));
    rl_http_free(h);
}

/* -- handshake -- */

#define UPGRADE "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
#define KEY     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"

static rl_ws_shake_result shake(rl_str in, rl_ws_shake *out)
{
    rl_http *h = rl_http_new(NULL);
    rl_http_event ev;

    rl_http_feed(h, in.p, in.n, &ev);
    CHECK_INT(ev.type, RL_HTTP_HEAD);
    rl_ws_shake_result result = rl_ws_shake_check(rl_http_head_of(h), out);
    if (result == RL_WS_SHAKE_OK) /* while there is a head */
        CHECK_MEM(out->key.p, out->key.n, "dGhlIHNhbXBsZSBub25jZQ==");
    rl_http_free(h);
    return result;
}

static void accepts_the_handshake_of_the_rfc(void)
{
    char accept[RL_WS_ACCEPT_LEN + 1];
    rl_ws_shake out;

    rl_ws_accept(RL_STR("dGhlIHNhbXBsZSBub25jZQ=="), accept); /* section 1.3 */
    CHECK_MEM(accept, strlen(accept), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    CHECK_INT(shake(RL_STR(GET HOST UPGRADE KEY VERSION "\r\n"), &out), RL_WS_SHAKE_OK);
    CHECK_INT(shake(RL_STR(GET HOST "upgrade: h2c, WebSocket\r\nconnection: UPGRADE\r\n" KEY VERSION
                                    "\r\n"),
                    &out),
              RL_WS_SHAKE_OK);
}

static void leaves_ordinary_requests_alone(void)
{
    rl_ws_shake out;

    CHECK_INT(shake(RL_STR(GET HOST "\r\n"), &out), RL_WS_SHAKE_NOT);
    CHECK_INT(shake(RL_STR(GET HOST "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"), &out),
              RL_WS_SHAKE_NOT);
}

static void refuses_a_bad_handshake(void)
{
    static const struct {
        rl_str in;
        int status;
    } bad[] = {
#define BAD(status, in) {{in, sizeof(in) - 1}, status}
        BAD(400, POST UPGRADE KEY VERSION "\r\n"),
        BAD(400, "GET / HTTP/1.0\r\n" HOST UPGRADE KEY VERSION "\r\n"),
        BAD(400, GET HOST "Upgrade: websocket\r\n" KEY VERSION "\r\n"),
        BAD(400, GET HOST "Upgrade: websocket\r\nConnection: close\r\n" KEY VERSION "\r\n"),
        BAD(400, GET HOST UPGRADE VERSION "\r\n"),
        BAD(400, GET HOST UPGRADE KEY KEY VERSION "\r\n"),
        BAD(400, GET HOST UPGRADE KEY "\r\n"),
        BAD(400, GET HOST UPGRADE KEY VERSION "Content-Length: 1\r\n\r\n"),
        BAD(400, GET HOST UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n\r\n"),
        BAD(400, GET HOST UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA\r\n\r\n"),
        BAD(400, GET HOST UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub2*jZQ==\r\n\r\n"),
        BAD(426, GET HOST UPGRADE KEY "Sec-WebSocket-Version: 8\r\n\r\n"),
        BAD(426, GET HOST UPGRADE KEY "Sec-WebSocket-Version: 130\r\n\r\n"),
    };

    for (size_t i = 0; i < RL_COUNT(bad); i++) {
        rl_ws_shake out;
        rl_ws_shake_result result = shake(bad[i].in, &out);
        unit_check(result == RL_WS_SHAKE_BAD && out.status == bad[i].status && out.why, bad[i].in.p,
                   __FILE__, __LINE__);
    }
}

/* -- responses -- */

static void writes_a_head(void)
{
    rl_buf out = {0};

    rl_http_write_status(&out, 404);
    CHECK_INT(rl_http_write_field(&out, RL_STR("X-A"), RL_STR("b\tc"), NULL), 0);
    CHECK_INT(rl_http_write_field(&out, RL_STR("Empty"), RL_STR(""), NULL), 0);
    rl_http_write_number(&out, "content-length", UINT64_MAX);
    rl_http_write_date(&out, 784111777);
    rl_http_write_end(&out);
    CHECK_MEM(out.data, out.len,
              "HTTP/1.1 404 Not Found\r\nX-A: b\tc\r\nEmpty: \r\n"
              "content-length: 18446744073709551615\r\n"
              "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n");
    rl_buf_clear(&out);
    rl_http_write_status(&out, 599);
    CHECK_MEM(out.data, out.len, "HTTP/1.1 599 \r\n");
    rl_buf_fini(&out);
}

static void refuses_to_split_a_response(void)
{
    static const rl_http_field bad[] = {
        {{"", 0}, {"a", 1}},       {{"a b", 3}, {"c", 1}},   {{"a:", 2}, {"c", 1}},
        {{"a\r\nb", 4}, {"c", 1}}, {{"a\0", 2}, {"c", 1}},   {{"caf\xc3\xa9", 5}, {"c", 1}},
        {{"a", 1}, {"b\r\nc", 4}}, {{"a", 1}, {"b\n", 2}},   {{"a", 1}, {"\r", 1}},
        {{"a", 1}, {"b\0c", 3}},   {{"a", 1}, {"b\x7f", 2}},
    };

    for (size_t i = 0; i < RL_COUNT(bad); i++) {
        rl_buf out = {0};
        rl_err err = {0};
        CHECK_INT(rl_http_write_field(&out, bad[i].name, bad[i].value, &err), RL_ESYNTAX);
        CHECK(err.code == RL_ESYNTAX && err.msg[0] && out.len == 0);
        rl_buf_fini(&out);
    }
}

int main(void)
{
    reads_a_head();
    knows_whether_to_keep_the_connection();
    reads_a_body_of_known_length();
    reads_a_body_in_chunks();
    reads_requests_one_after_another();
    goes_on_behind_an_upgrade();
    leaves_what_lies_behind_the_head();
    takes_what_a_target_may_be();
    refuses_a_request_line_that_is_none();
    refuses_lines_that_do_not_end_in_cr_lf();
    refuses_headers_that_are_none();
    refuses_control_characters();
    wants_one_host();
    refuses_bodies_of_doubtful_length();
    refuses_chunks_that_are_none();
    refuses_trailers_that_are_none();
    knows_one_expectation();
    keeps_to_the_limits();
    bounds_the_framing_of_chunks();
    swallows_what_follows_an_error();
    finds_headers();
    accepts_the_handshake_of_the_rfc();
    leaves_ordinary_requests_alone();
    refuses_a_bad_handshake();
    writes_a_head();
    refuses_to_split_a_response();
    return unit_done();
}
