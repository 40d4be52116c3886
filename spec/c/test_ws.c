/* WebSocket frames and messages, by RFC 6455; each stream is cut at every place. */
#include "unit.h"

#include "../support/trace.h"

#include "proto/ws.h"

static const uint8_t MASK[4] = {0x37, 0xfa, 0x21, 0x3d}; /* of the RFC's example */

/* A client's frame. first: FIN, reserved bits and opcode, as on the wire. */
static void put(rl_buf *out, uint8_t first, rl_str payload)
{
    char head[RL_WS_HEAD_MAX];
    size_t n = rl_ws_head(head, RL_WS_OP_TEXT, payload.n);

    head[0] = (char)first;
    head[1] = (char)(head[1] | 0x80);
    rl_buf_add(out, head, n);
    rl_buf_add(out, MASK, 4);
    for (size_t i = 0; i < payload.n; i++)
        rl_buf_add_c(out, (char)(payload.p[i] ^ MASK[i % 4]));
}

/* The stream must read as `want` whole, byte by byte, cut in two anywhere, and with
 * empty reads between. */
static void expect(const rl_ws_rules *rules, rl_str in, const char *want, int line)
{
    static const size_t patterns[][3] = {{1, 1, 1}, {2, 0, 1}, {3, 5, 7}};

    for (size_t cut = 0; cut <= in.n; cut++) {
        rl_buf got = {0};
        size_t sizes[] = {cut, in.n};
        trace_ws(&got, rules, in, (trace_cuts){sizes, 2});
        unit_check_mem(rl_buf_str(&got).p, got.len, want, strlen(want), "cut in two", __FILE__,
                       line);
        rl_buf_fini(&got);
    }
    for (size_t i = 0; i < RL_COUNT(patterns); i++) {
        rl_buf got = {0};
        trace_ws(&got, rules, in, (trace_cuts){patterns[i], 3});
        unit_check_mem(rl_buf_str(&got).p, got.len, want, strlen(want), "in small pieces", __FILE__,
                       line);
        rl_buf_fini(&got);
    }
}

static const rl_ws_rules DEFAULTS = {0};

#define EXPECT(in, want) expect(&DEFAULTS, in, want, __LINE__)

/* The stream ends in an error of this code, however it is cut. */
static void refuses(const rl_ws_rules *rules, rl_str in, int code, int line)
{
    rl_buf got = {0};
    char want[32];

    trace_ws(&got, rules, in, (trace_cuts){&in.n, 1});
    snprintf(want, sizeof(want), "error %d", code);
    unit_check(strstr(rl_buf_cstr(&got), want) != NULL, want, __FILE__, line);
    expect(rules, in, rl_buf_cstr(&got), line);
    rl_buf_fini(&got);
}

#define REFUSES(in, code) refuses(&DEFAULTS, in, code, __LINE__)

static void refuses_frame(uint8_t first, rl_str payload, int code, int line)
{
    rl_buf in = {0};

    put(&in, first, payload);
    refuses(&DEFAULTS, rl_buf_str(&in), code, line);
    rl_buf_fini(&in);
}

#define REFUSES_FRAME(first, payload, code) refuses_frame(first, RL_STR(payload), code, __LINE__)

static void reads_the_examples_of_section_5_7(void)
{
    rl_buf in = {0};

    EXPECT(RL_STR("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), "text(5) Hello\n");
    EXPECT(RL_STR("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), "pong(5) Hello\n");

    put(&in, 0x01, RL_STR("Hel"));
    put(&in, 0x80, RL_STR("lo"));
    EXPECT(rl_buf_str(&in), "text(5) Hello\n");
    rl_buf_fini(&in);
}

static void reads_every_length_of_a_length(void)
{
    static const size_t sizes[] = {0, 1, 15, 16, 17, 125, 126, 127, 255, 65535, 65536, 70001};

    for (size_t i = 0; i < RL_COUNT(sizes); i++) {
        size_t n = sizes[i];
        char *text = rl_malloc(n + 1);
        for (size_t k = 0; k < n; k++)
            text[k] = (char)('a' + k % 23);
        rl_buf in = {0};
        rl_ws ws = {0};
        rl_ws_event ev;

        put(&in, 0x82, (rl_str){text, n});
        CHECK_INT(rl_ws_feed(&ws, &DEFAULTS, in.data, in.len, &ev), in.len);
        CHECK_INT(ev.type, RL_WS_BINARY);
        CHECK(ev.data.n == n && memcmp(ev.data.p, text, n) == 0);
        CHECK(ev.data.p + n == in.data + in.len); /* a slice of what was lent */
        CHECK(ws.part.data == NULL);

        rl_buf_fini(&in); /* and once more, in two halves */
        put(&in, 0x82, (rl_str){text, n});
        size_t half = in.len / 2;
        CHECK_INT(rl_ws_feed(&ws, &DEFAULTS, in.data, half, &ev), half);
        CHECK_INT(ev.type, RL_WS_NONE);
        CHECK_INT(rl_ws_feed(&ws, &DEFAULTS, in.data + half, in.len - half, &ev), in.len - half);
        CHECK_INT(ev.type, RL_WS_BINARY);
        CHECK(ev.data.n == n && memcmp(ev.data.p, text, n) == 0);
        CHECK_INT(rl_ws_feed(&ws, &DEFAULTS, NULL, 0, &ev), 0);
        CHECK_INT(ev.type, RL_WS_NONE);
        CHECK(ws.part.data == NULL); /* given back */
        rl_ws_fini(&ws);
        rl_buf_fini(&in);
        rl_free(text);
    }
}

static void joins_fragments_around_control_frames(void)
{
    rl_buf in = {0};

    put(&in, 0x01, RL_STR("\xe2"));
    put(&in, 0x89, RL_STR("are you there"));
    put(&in, 0x00, RL_STR(""));
    put(&in, 0x00, RL_STR("\x82"));
    put(&in, 0x8a, RL_STR(""));
    put(&in, 0x80, RL_STR("\xac!"));
    put(&in, 0x81, RL_STR("next"));
    EXPECT(rl_buf_str(&in),
           "ping(13) are you there\npong(0) \ntext(4) \xe2\x82\xac!\ntext(4) next\n");
    rl_buf_fini(&in);
}

static void takes_an_empty_message_for_a_message(void)
{
    rl_buf in = {0};

    put(&in, 0x81, RL_STR(""));
    put(&in, 0x82, RL_STR(""));
    put(&in, 0x01, RL_STR(""));
    put(&in, 0x80, RL_STR(""));
    EXPECT(rl_buf_str(&in), "text(0) \nbinary(0) \ntext(0) \n");
    rl_buf_fini(&in);
}

static void swallows_what_follows_a_close(void)
{
    rl_buf in = {0};

    put(&in, 0x01, RL_STR("unfinished"));
    put(&in, 0x88,
        RL_STR("\x03\xe8"
               "bye \xe2\x82\xac"));
    put(&in, 0x81, RL_STR("too late"));
    EXPECT(rl_buf_str(&in), "close 1000(7) bye \xe2\x82\xac\n");
    rl_buf_fini(&in);
    put(&in, 0x88, RL_STR(""));
    EXPECT(rl_buf_str(&in), "close 1005(0) \n");
    rl_buf_fini(&in);
}

static void knows_which_codes_may_be_sent(void)
{
    for (unsigned code = 0; code < 65536; code++) {
        bool want = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
                    (code >= 3000 && code <= 4999);
        char payload[2] = {(char)(code >> 8), (char)code};
        rl_buf in = {0};
        rl_ws ws = {0};
        rl_ws_event ev;

        if (rl_ws_close_code_valid(code) != want)
            CHECK_INT(code, -1);
        put(&in, 0x88, (rl_str){payload, 2});
        rl_ws_feed(&ws, &DEFAULTS, in.data, in.len, &ev);
        if (want ? ev.type != RL_WS_CLOSE || ev.code != code
                 : ev.type != RL_WS_ERROR || ev.code != RL_WS_PROTOCOL)
            CHECK_INT(code, -1);
        rl_buf_fini(&in);
    }
    REFUSES_FRAME(0x88, "\x03", 1002);
    REFUSES_FRAME(0x88, "\x03\xed", 1002);     /* 1005 */
    REFUSES_FRAME(0x88, "\x03\xe8\xff", 1007); /* a reason that is no text */
    REFUSES_FRAME(0x88, "\x03\xe8\xc3", 1007);
}

static void refuses_heads_that_break_the_protocol(void)
{
    REFUSES(RL_STR("\x81\x05Hello"), 1002); /* not masked */
    REFUSES(RL_STR("\x89\x00"), 1002);
    REFUSES_FRAME(0xc1, "a", 1002); /* reserved bits */
    REFUSES_FRAME(0xa1, "a", 1002);
    REFUSES_FRAME(0x91, "a", 1002);
    for (int opcode = 0; opcode < 16; opcode++)
        if ((opcode >= 3 && opcode <= 7) || opcode >= 11)
            refuses_frame((uint8_t)(0x80 | opcode), RL_STR("a"), 1002, __LINE__);
    REFUSES_FRAME(0x09, "a", 1002); /* control frames in fragments */
    REFUSES_FRAME(0x08, "", 1002);
    REFUSES(RL_STR("\x89\xfe\x00\x7e\x00\x00\x00\x00"), 1002); /* over 125 */
    REFUSES(RL_STR("\x81\xfe\x00\x7d\x00\x00\x00\x00"), 1002); /* 125 in 16 bits */
    REFUSES(RL_STR("\x81\xff\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x00\x00"), 1002);
    REFUSES(RL_STR("\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 1002);
    REFUSES_FRAME(0x80, "a", 1002); /* continues nothing */
    REFUSES_FRAME(0x00, "a", 1002);
}

static void refuses_a_message_inside_another(void)
{
    rl_buf in = {0};

    put(&in, 0x01, RL_STR("a"));
    put(&in, 0x81, RL_STR("b"));
    REFUSES(rl_buf_str(&in), 1002);
    rl_buf_fini(&in);
}

static void refuses_text_that_is_none(void)
{
    rl_buf in = {0};

    REFUSES_FRAME(0x81, "\xed\xa0\x80", 1007);
    REFUSES_FRAME(0x81, "sixteen bytes ok\x80", 1007);
    REFUSES_FRAME(0x81, "cut short \xe2\x82", 1007);
    put(&in, 0x01, RL_STR("\xe2"));
    put(&in, 0x80, RL_STR("\x82"));
    REFUSES(rl_buf_str(&in), 1007);
    rl_buf_fini(&in);
    put(&in, 0x01, RL_STR("\xe2"));
    put(&in, 0x80, RL_STR("("));
    REFUSES(rl_buf_str(&in), 1007);
    rl_buf_fini(&in);

    /* ASCII has no place inside a character, though the rest of it comes later. */
    put(&in, 0x01, RL_STR("\xe2"));
    put(&in, 0x00, RL_STR("("));
    put(&in, 0x80, RL_STR("\x82\xac"));
    REFUSES(rl_buf_str(&in), 1007);
    rl_buf_fini(&in);

    /* Each text begins anew. */
    put(&in, 0x01, RL_STR("\xc3"));
    put(&in, 0x80, RL_STR("\xa9"));
    put(&in, 0x01, RL_STR("\xa9"));
    put(&in, 0x80, RL_STR(""));
    REFUSES(rl_buf_str(&in), 1007);
    rl_buf_fini(&in);

    /* Refused at the wrong byte, though the message is far from complete. */
    put(&in, 0x01, RL_STR("ok \xc0 and more"));
    rl_ws ws = {0};
    rl_ws_event ev;
    CHECK_INT(rl_ws_feed(&ws, &DEFAULTS, in.data, 10, &ev), 10);
    CHECK_INT(ev.type, RL_WS_ERROR);
    CHECK_INT(ev.code, 1007);
    rl_ws_fini(&ws);
    rl_buf_fini(&in);
}

static void does_not_look_for_text_in_bytes(void)
{
    rl_buf in = {0};

    put(&in, 0x82, RL_STR("\xff\xfe"));
    put(&in, 0x02, RL_STR("\xc3"));
    put(&in, 0x80, RL_STR("("));
    put(&in, 0x89, RL_STR("\xff"));
    EXPECT(rl_buf_str(&in), "binary(2) \xff\xfe\nbinary(2) \xc3(\nping(1) \xff\n");
    rl_buf_fini(&in);
}

static void keeps_to_the_limits(void)
{
    static const rl_ws_rules eight = {.max_message = 8};
    static const rl_ws_rules frames = {.max_message = 8, .max_frame = 4};
    rl_buf in = {0};

    put(&in, 0x81, RL_STR("12345678"));
    put(&in, 0x01, RL_STR("1234"));
    put(&in, 0x89, RL_STR("a ping is not part of it"));
    put(&in, 0x80, RL_STR("5678"));
    expect(&eight, rl_buf_str(&in),
           "text(8) 12345678\nping(24) a ping is not part of it\ntext(8) 12345678\n", __LINE__);
    refuses(&frames, rl_buf_str(&in), 1009, __LINE__);
    rl_buf_fini(&in);

    put(&in, 0x81, RL_STR("123456789"));
    refuses(&eight, rl_buf_str(&in), 1009, __LINE__);
    rl_buf_fini(&in);

    put(&in, 0x01, RL_STR("1234"));
    put(&in, 0x00, RL_STR("5678"));
    expect(&frames, rl_buf_str(&in), "", __LINE__);
    put(&in, 0x80, RL_STR("9"));
    refuses(&frames, rl_buf_str(&in), 1009, __LINE__);
    rl_buf_fini(&in);

    /* By its head alone, and by default. */
    REFUSES(RL_STR("\x82\xff\x00\x00\x00\x00\x00\x10\x00\x01\x00\x00\x00\x00"), 1009);
    REFUSES(RL_STR("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"), 1009);
}

static void reserves_nothing_for_a_claim(void)
{
    static const rl_ws_rules rules = {.max_message = SIZE_MAX};
    char in[] = "\x82\xff\x00\x00\x00\x40\x00\x00\x00\x00\x00\x00\x00\x00"
                "abcdef";
    rl_ws ws = {0};
    rl_ws_event ev;

    CHECK_INT(rl_ws_feed(&ws, &rules, in, sizeof(in) - 1, &ev), sizeof(in) - 1);
    CHECK_INT(ev.type, RL_WS_NONE);
    CHECK_INT(ws.part.len, 6);
    CHECK(ws.part.cap <= 64);
    rl_ws_fini(&ws);
}

static void is_small(void)
{
    CHECK(sizeof(rl_ws) <= 72);
}

static void stops_behind_each_event(void)
{
    rl_buf in = {0};
    rl_ws ws = {0};
    rl_ws_event ev;

    put(&in, 0x81, RL_STR("one"));
    put(&in, 0x81, RL_STR("two"));
    CHECK_INT(rl_ws_feed(&ws, &DEFAULTS, in.data, in.len, &ev), 9);
    CHECK_MEM(ev.data.p, ev.data.n, "one");
    CHECK_INT(rl_ws_feed(&ws, &DEFAULTS, in.data + 9, in.len - 9, &ev), 9);
    CHECK_MEM(ev.data.p, ev.data.n, "two");
    rl_ws_fini(&ws);
    rl_buf_fini(&in);
}

static void writes_heads(void)
{
    char head[RL_WS_HEAD_MAX];

    CHECK_INT(rl_ws_head(head, RL_WS_OP_TEXT, 5), 2);
    CHECK(memcmp(head, "\x81\x05", 2) == 0);
    CHECK_INT(rl_ws_head(head, RL_WS_OP_PONG, 0), 2);
    CHECK(memcmp(head, "\x8a\x00", 2) == 0);
    CHECK_INT(rl_ws_head(head, RL_WS_OP_BINARY, 125), 2);
    CHECK_INT(rl_ws_head(head, RL_WS_OP_BINARY, 126), 4);
    CHECK_INT(rl_ws_head(head, RL_WS_OP_BINARY, 256), 4);
    CHECK(memcmp(head, "\x82\x7e\x01\x00", 4) == 0);
    CHECK_INT(rl_ws_head(head, RL_WS_OP_BINARY, 65535), 4);
    CHECK_INT(rl_ws_head(head, RL_WS_OP_BINARY, 65536), 10);
    CHECK(memcmp(head, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10) == 0);
}

static void writes_close_payloads(void)
{
    char out[RL_WS_CONTROL_MAX], reason[200];

    CHECK_INT(rl_ws_close_payload(out, 1000, RL_STR("bye")), 5);
    CHECK(memcmp(out,
                 "\x03\xe8"
                 "bye",
                 5) == 0);
    CHECK_INT(rl_ws_close_payload(out, 4001, (rl_str){NULL, 0}), 2);
    CHECK_INT(rl_ws_close_payload(out, RL_WS_NO_STATUS, RL_STR("not sent")), 0);

    memset(reason, 'a', sizeof(reason));
    CHECK_INT(rl_ws_close_payload(out, 1000, (rl_str){reason, sizeof(reason)}), 125);
    CHECK_INT(rl_ws_close_payload(out, 1000, (rl_str){reason, 123}), 125);
    memcpy(reason + 121, "\xe2\x82\xac", 3); /* would be cut in its middle */
    CHECK_INT(rl_ws_close_payload(out, 1000, (rl_str){reason, sizeof(reason)}), 123);
    CHECK(rl_utf8_valid((rl_str){out + 2, 121}));
}

int main(void)
{
    reads_the_examples_of_section_5_7();
    reads_every_length_of_a_length();
    joins_fragments_around_control_frames();
    takes_an_empty_message_for_a_message();
    swallows_what_follows_a_close();
    knows_which_codes_may_be_sent();
    refuses_heads_that_break_the_protocol();
    refuses_a_message_inside_another();
    refuses_text_that_is_none();
    does_not_look_for_text_in_bytes();
    keeps_to_the_limits();
    reserves_nothing_for_a_claim();
    is_small();
    stops_behind_each_event();
    writes_heads();
    writes_close_payloads();
    return unit_done();
}
