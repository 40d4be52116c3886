/* permessage-deflate: the examples of RFC 7692, limits, windows; zlib is the
 * peer. */
#include "unit.h"

#include "../support/trace.h"

#include "proto/deflate.h"

#include <stdlib.h>
#include <zlib.h>

static const rl_deflate_settings ANY_SIZE = {.threshold = 1};
static const rl_deflate_terms ALONE = {.bits = 15, .peer_bits = 15};
static const rl_deflate_terms KEPT = {
    .bits = 15, .peer_bits = 15, .takeover = true, .peer_takeover = true};

typedef struct side {
    rl_deflate_shared shared;
    rl_deflate *d;
} side;

static void open_side(side *s, const rl_deflate_settings *settings, const rl_deflate_terms *terms)
{
    *s = (side){.d = NULL};
    s->d = rl_deflate_new(&s->shared, settings, terms);
}

static void close_side(side *s)
{
    rl_deflate_free(s->d);
    rl_deflate_shared_fini(&s->shared);
}

static void inflates(rl_deflate *d, rl_str in, const char *want, int line)
{
    rl_buf out = {0};

    unit_check_int(rl_inflate_message(d, in, 1000, &out), RL_INFLATED, "inflated", __FILE__, line);
    unit_check_mem(rl_buf_str(&out).p, out.len, want, strlen(want), "inflated", __FILE__, line);
    rl_buf_fini(&out);
}

#define INFLATES(d, in, want) inflates(d, RL_STR(in), want, __LINE__)

static void fails(const rl_deflate_terms *terms, rl_str in, rl_inflated why, int line)
{
    rl_buf out = {0};
    side s;

    open_side(&s, &ANY_SIZE, terms);
    unit_check_int(rl_inflate_message(s.d, in, 1000, &out), why, "fails", __FILE__, line);
    rl_buf_fini(&out);
    close_side(&s);
}

static void reads_the_examples_of_section_7_2_3(void)
{
    side s;

    open_side(&s, &ANY_SIZE, &KEPT);
    INFLATES(s.d, "\xf2\x48\xcd\xc9\xc9\x07\x00", "Hello");
    INFLATES(s.d, "\xf2\x00\x11\x00\x00", "Hello"); /* by the window of the one before */
    INFLATES(s.d, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "Hello"); /* stored */
    INFLATES(s.d, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello");             /* a last block */
    INFLATES(s.d, "\xf3\x48\xcd\xc9\xc9\x07\x00", "Hello"); /* and nothing behind it */
    INFLATES(s.d, "\xf2\x00\x11\x00\x00", "Hello");         /* the window outlives it */
    INFLATES(s.d, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "Hello"); /* two blocks */
    INFLATES(s.d, "\x00", "");
    INFLATES(s.d, "", "");
    CHECK_INT(s.shared.streams, 1);
    close_side(&s);
}

static void refuses_what_is_no_message(void)
{
    fails(&ALONE, RL_STR("\xff\xff"), RL_INFLATE_BAD, __LINE__);
    fails(&ALONE, RL_STR("\xf2\x00\x11\x00\x00"), RL_INFLATE_BAD, __LINE__); /* no window */
    fails(&ALONE, RL_STR("\xf2\x48\xcd"), RL_INFLATE_BAD, __LINE__);         /* cut off */
    fails(&ALONE, RL_STR("\xf2\x48\xcd\xc9"), RL_INFLATE_BAD, __LINE__);     /* cut off */
    fails(&KEPT, RL_STR("\x06"), RL_INFLATE_BAD, __LINE__); /* a type of block that is none */
}

/* A bomb is given up at the limit, also one that ends in many last blocks. */
static void stops_at_the_limit(void)
{
    static char zeros[1 << 20];
    rl_buf out = {0};
    rl_str bomb;
    side s;

    open_side(&s, &ANY_SIZE, &ALONE);
    CHECK(rl_deflate_message(s.d, (rl_str){zeros, sizeof(zeros)}, &bomb) && bomb.n < 8192);
    CHECK_INT(rl_inflate_message(s.d, bomb, 100000, &out), RL_INFLATE_BIG);
    CHECK_INT(out.len, 100001);
    CHECK(out.cap <= 2 * 100001);
    rl_buf_fini(&out);
    CHECK_INT(rl_inflate_message(s.d, bomb, sizeof(zeros) - 1, &out), RL_INFLATE_BIG);
    rl_buf_fini(&out);
    CHECK_INT(rl_inflate_message(s.d, bomb, sizeof(zeros), &out), RL_INFLATED);
    CHECK_INT(out.len, sizeof(zeros));
    CHECK(memcmp(out.data, zeros, sizeof(zeros)) == 0);
    rl_buf_fini(&out);
    CHECK_INT(rl_inflate_message(s.d, bomb, SIZE_MAX, &out), RL_INFLATED);
    rl_buf_fini(&out);
    for (size_t i = 0; i < 100000; i += 2)
        memcpy(zeros + i, "\x03\x00", 2); /* an empty last block */
    CHECK_INT(rl_inflate_message(s.d, (rl_str){zeros, 100000}, 10, &out), RL_INFLATED);
    CHECK_INT(out.len, 0);
    rl_buf_fini(&out);
    close_side(&s);
}

/* A client of our own making, with a window of its own. */
static void client_reads(z_stream *z, rl_str frame, rl_str want, int line)
{
    char *got = malloc(want.n + 1);
    rl_buf in = {0};

    rl_buf_add_str(&in, frame);
    rl_buf_add(&in, "\x00\x00\xff\xff", 4);
    z->next_in = (Bytef *)in.data;
    z->avail_in = (uInt)in.len;
    z->next_out = (Bytef *)got;
    z->avail_out = (uInt)want.n + 1;
    int rc = inflate(z, Z_SYNC_FLUSH);
    unit_check(rc == Z_OK || rc == Z_BUF_ERROR, "the client can read it", __FILE__, line);
    unit_check(z->avail_out == 1 && memcmp(got, want.p, want.n) == 0, "and reads what was sent",
               __FILE__, line);
    rl_buf_fini(&in);
    free(got);
}

/* What the client's window holds, ours must: also across frames made for all.
 */
static void mixes_shared_frames_with_a_window(void)
{
    for (int bits = 9; bits <= 15; bits++) {
        rl_deflate_terms terms = {.bits = (uint8_t)bits, .peer_bits = 15, .takeover = true};
        z_stream client = {.zalloc = NULL};
        char text[3000];
        rl_str out;
        side s;

        CHECK_INT(inflateInit2(&client, -bits), Z_OK);
        open_side(&s, &ANY_SIZE, &terms);
        srand(7);
        for (int i = 0; i < 60; i++) {
            size_t n = 1 + (size_t)rand() % sizeof(text);
            for (size_t k = 0; k < n; k++)
                text[k] = "abcd{}:,"[rand() % 8];
            if (i > 3 && i % 3 == 0)
                n = 200; /* alike, for distances into what was before */
            rl_str message = {text, n};
            uint32_t key = rl_deflate_key(s.d, n);
            CHECK(key != 0);
            if (i % 4 == 3 && rl_deflate_for_all(&s.shared, key, message, &out)) {
                rl_deflate_forget(s.d);
                client_reads(&client, out, message, __LINE__);
            } else if (rl_deflate_message(s.d, message, &out)) {
                client_reads(&client, out, message, __LINE__);
            }
        }
        CHECK_INT(s.shared.streams, 2);
        close_side(&s);
        inflateEnd(&client);
    }
}

static void keeps_a_window_only_where_agreed(void)
{
    rl_str message = RL_STR("{\"type\": \"move\", \"x\": 17, \"y\": 99, \"who\": \"somebody\"}");
    rl_str out = {NULL, 0};
    side s;

    open_side(&s, &ANY_SIZE, &KEPT);
    CHECK_INT(s.shared.streams, 0); /* none before the first message */
    CHECK(rl_deflate_message(s.d, message, &out));
    size_t first = out.n;
    CHECK(rl_deflate_message(s.d, message, &out) && out.n < first / 4);
    rl_deflate_forget(s.d);
    CHECK(rl_deflate_message(s.d, message, &out) && out.n == first);
    CHECK_INT(s.shared.deflated, 3);
    close_side(&s);

    open_side(&s, &ANY_SIZE, &ALONE);
    rl_deflate *other = rl_deflate_new(&s.shared, &ANY_SIZE, &ALONE);
    for (int i = 0; i < 3; i++) {
        rl_deflate_message(s.d, message, &out);
        rl_deflate_message(other, message, &out);
    }
    CHECK_INT(s.shared.streams, 1); /* the worker's */
    rl_deflate_free(other);
    close_side(&s);
}

static void leaves_alone_what_is_not_worth_it(void)
{
    static const rl_deflate_settings threshold = {.threshold = 100};
    char text[200];
    rl_str out = {NULL, 7};
    side s;

    memset(text, 'a', sizeof(text));
    open_side(&s, &threshold, &ALONE);
    CHECK(!rl_deflate_message(s.d, (rl_str){text, 99}, &out) && out.n == 7);
    CHECK(rl_deflate_message(s.d, (rl_str){text, 100}, &out) && out.n < 10);
    CHECK_INT(rl_deflate_key(s.d, 99), 0);
    CHECK(rl_deflate_key(s.d, 100) != 0);
    srand(3);
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)(rand() >> 8);
    out = (rl_str){NULL, 7};
    CHECK(!rl_deflate_message(s.d, (rl_str){text, sizeof(text)}, &out) && out.n == 7);
    close_side(&s);

    open_side(&s, &ANY_SIZE, &KEPT);
    CHECK(!rl_deflate_message(s.d, RL_STR(""), &out));
    /* Where a window is kept, what does not become smaller goes the same way: it
     * is in it now. */
    CHECK(rl_deflate_message(s.d, (rl_str){text, sizeof(text)}, &out) && out.n >= sizeof(text));
    close_side(&s);

    static const rl_deflate_settings defaults;
    open_side(&s, &defaults, &ALONE);
    CHECK_INT(rl_deflate_key(s.d, 1023), 0);
    CHECK(rl_deflate_key(s.d, 1024) != 0);
    close_side(&s);
}

/* Levels share a deflater, and change it back and forth. */
static void changes_levels(void)
{
    char text[20000];
    rl_str message = {text, sizeof(text)}, out = {NULL, 0};
    rl_deflate_shared shared = {.deflated = 0};
    size_t sizes[2] = {0};

    srand(11);
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = "the quick brown fox"[rand() % 19];
    for (int round = 0; round < 4; round++) {
        rl_deflate_settings settings = {.threshold = 1, .level = round % 2 ? 9 : 1};
        rl_deflate *d = rl_deflate_new(&shared, &settings, &ALONE);
        rl_buf back = {0};
        CHECK(rl_deflate_message(d, message, &out));
        CHECK(!sizes[round % 2] || sizes[round % 2] == out.n);
        sizes[round % 2] = out.n;
        CHECK_INT(rl_inflate_message(d, out, sizeof(text), &back), RL_INFLATED);
        CHECK(back.len == sizeof(text) && memcmp(back.data, text, sizeof(text)) == 0);
        rl_buf_fini(&back);
        rl_deflate_free(d);
    }
    CHECK(sizes[1] < sizes[0]);
    CHECK_INT(shared.streams, 2);
    rl_deflate_shared_fini(&shared);
}

/* The frames around it. */

static void put(rl_buf *out, uint8_t first, rl_str payload)
{
    char head[RL_WS_HEAD_MAX];
    size_t n = rl_ws_head(head, RL_WS_OP_TEXT, payload.n);

    head[0] = (char)first;
    head[1] = (char)(head[1] | 0x80);
    rl_buf_add(out, head, n);
    rl_buf_add(out, "\0\0\0\0", 4);
    rl_buf_add_str(out, payload);
}

static void reads(const rl_deflate_terms *terms, rl_buf *in, const char *want, int line)
{
    static const rl_ws_rules rules = {.max_message = 300};

    for (size_t cut = 0; cut <= in->len; cut++) {
        rl_deflate_shared shared = {.deflated = 0};
        size_t sizes[] = {cut, in->len};
        rl_buf got = {0};
        trace_ws_deflate(&got, &rules, terms ? rl_deflate_new(&shared, &ANY_SIZE, terms) : NULL,
                         rl_buf_str(in), (trace_cuts){sizes, 2});
        unit_check(rl_str_starts(rl_buf_str(&got), rl_str_of(want)), want, __FILE__, line);
        rl_buf_fini(&got);
        rl_deflate_shared_fini(&shared);
    }
    rl_buf_fini(in);
}

#define READS(terms, in, want) reads(terms, in, want, __LINE__)
#define HELLO                  RL_STR("\xf2\x48\xcd\xc9\xc9\x07\x00")

static void marks_the_first_frame_of_a_message(void)
{
    rl_buf in = {0};

    put(&in, 0xc1, HELLO);
    put(&in, 0x81, RL_STR("plain"));
    put(&in, 0x41, RL_STR("\xf2\x48\xcd"));
    put(&in, 0x89, RL_STR("ping"));
    put(&in, 0x00, RL_STR(""));
    put(&in, 0x80, RL_STR("\xc9\xc9\x07\x00"));
    put(&in, 0x02, RL_STR("a"));
    put(&in, 0x80, RL_STR("b"));
    put(&in, 0xc2, RL_STR(""));
    READS(&ALONE, &in,
          "text(5) Hello\ntext(5) plain\nping(4) ping\ntext(5) Hello\nbinary(2) "
          "ab\nbinary(0) \n");

    put(&in, 0xc1, HELLO);
    READS(NULL, &in, "error 1002");
    put(&in, 0xa1, HELLO);
    READS(&ALONE, &in, "error 1002");
    put(&in, 0xd1, HELLO);
    READS(&ALONE, &in, "error 1002");
    put(&in, 0xc9, RL_STR("x"));
    READS(&ALONE, &in, "error 1002");
    put(&in, 0xc8, RL_STR(""));
    READS(&ALONE, &in, "error 1002");
    put(&in, 0x41, HELLO);
    put(&in, 0xc0, HELLO);
    READS(&ALONE, &in, "error 1002");
    put(&in, 0x01, RL_STR("a"));
    put(&in, 0xc0, HELLO);
    READS(&ALONE, &in, "error 1002");
}

static void judges_what_was_inflated(void)
{
    rl_buf in = {0}, big = {0};
    rl_str out = {NULL, 0};
    side s;

    open_side(&s, &ANY_SIZE, &ALONE);
    CHECK(!rl_deflate_message(s.d, RL_STR("\xc3("), &out));
    put(&in, 0xc1, RL_STR("\x00\x02\x00\xfd\xff\xc3(\x00")); /* stored: no UTF-8, */
    READS(&ALONE, &in, "error 1007");
    put(&in, 0xc2, RL_STR("\x00\x02\x00\xfd\xff\xc3(\x00")); /* but bytes */
    READS(&ALONE, &in, "binary(2) \xc3(\n");
    put(&in, 0xc1, RL_STR("\xff\xff\xff"));
    READS(&ALONE, &in, "error 1007");

    rl_buf_reserve(&big, 301);
    memset(big.data, 'z', 301);
    CHECK(rl_deflate_message(s.d, (rl_str){big.data, 301}, &out) && out.n < 20);
    put(&in, 0xc1, out);
    READS(&ALONE, &in, "error 1009");
    CHECK(rl_deflate_message(s.d, (rl_str){big.data, 300}, &out));
    put(&in, 0xc1, out);
    READS(&ALONE, &in, "text(300) zzz");
    rl_buf_fini(&big);

    rl_buf_reserve(&big, 1000); /* longer on the wire than any message of 300 bytes can be */
    memset(big.data, 0, 1000);
    put(&in, 0xc2, (rl_str){big.data, rl_deflate_bound(300) + 1});
    READS(&ALONE, &in, "error 1009");
    rl_buf_fini(&big);
    close_side(&s);
}

static void marks_heads(void)
{
    char head[RL_WS_HEAD_MAX];

    CHECK_INT(rl_ws_head_deflated(head, RL_WS_OP_TEXT, 7), 2);
    CHECK(memcmp(head, "\xc1\x07", 2) == 0);
    CHECK_INT(rl_ws_head_deflated(head, RL_WS_OP_BINARY, 70000), 10);
    CHECK(memcmp(head, "\xc2\x7f", 2) == 0);
}

int main(void)
{
    reads_the_examples_of_section_7_2_3();
    refuses_what_is_no_message();
    stops_at_the_limit();
    mixes_shared_frames_with_a_window();
    keeps_a_window_only_where_agreed();
    leaves_alone_what_is_not_worth_it();
    changes_levels();
    marks_the_first_frame_of_a_message();
    judges_what_was_inflated();
    marks_heads();
    return unit_done();
}
