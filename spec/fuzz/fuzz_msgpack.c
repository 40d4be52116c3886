/* MessagePack: whatever is taken can be written again, and is then read as the same. What is open
 * at any time is balanced: every container gets its elements, each behind its value. */
#include "fuzz.h"

#include "proto/msgpack.h"
#include "proto/utf8.h"

#define MUST(cond) ((cond) ? (void)0 : (fprintf(stderr, "not so: %s\n", #cond), abort()))

struct seen {
    rl_buf out; /* written again; heads with what was claimed */
    unsigned values;
};

static void one_more(struct seen *s)
{
    s->values++;
}

static void on_nil(void *arg)
{
    rl_msgpack_add_nil(&((struct seen *)arg)->out);
    one_more(arg);
}

static void on_bool(void *arg, bool yes)
{
    rl_msgpack_add_bool(&((struct seen *)arg)->out, yes);
    one_more(arg);
}

static void on_int(void *arg, int64_t i)
{
    rl_msgpack_add_int(&((struct seen *)arg)->out, i);
    one_more(arg);
}

static void on_uint(void *arg, uint64_t u)
{
    MUST(u > INT64_MAX);
    rl_msgpack_add_int(&((struct seen *)arg)->out, (int64_t)(u >> 1));
    one_more(arg);
}

static void on_float(void *arg, double f)
{
    rl_msgpack_add_float(&((struct seen *)arg)->out, f);
    one_more(arg);
}

static void on_text(void *arg, rl_str text)
{
    MUST(rl_utf8_valid(text));
    rl_msgpack_add_text(&((struct seen *)arg)->out, text);
    one_more(arg);
}

static void on_bytes(void *arg, rl_str bytes)
{
    rl_msgpack_add_bytes(&((struct seen *)arg)->out, bytes);
    one_more(arg);
}

static void on_array(void *arg, size_t claimed)
{
    rl_msgpack_add_array(&((struct seen *)arg)->out, claimed);
    one_more(arg);
}

static void on_element(void *arg, size_t i)
{
    MUST(((struct seen *)arg)->values > i);
}

static void on_map(void *arg, size_t claimed)
{
    rl_msgpack_add_map(&((struct seen *)arg)->out, claimed);
    one_more(arg);
}

static bool on_pair(void *arg)
{
    MUST(((struct seen *)arg)->values > 1);
    return true;
}

static const rl_msgpack_events events = {
    .on_nil = on_nil,
    .on_bool = on_bool,
    .on_int = on_int,
    .on_uint = on_uint,
    .on_float = on_float,
    .on_text = on_text,
    .on_bytes = on_bytes,
    .on_array = on_array,
    .on_element = on_element,
    .on_map = on_map,
    .on_pair = on_pair,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen first = {0}, second = {0};
    rl_err err;

    if (rl_msgpack_read((rl_str){(const char *)data, size}, &events, &first, &err) == 0) {
        MUST(first.values > 0);
        MUST(rl_msgpack_read(rl_buf_str(&first.out), &events, &second, &err) == 0);
        MUST(first.values == second.values);
        MUST(rl_str_eq(rl_buf_str(&first.out), rl_buf_str(&second.out)));
    } else {
        MUST(err.code == RL_EPROTO && err.msg[0]);
    }
    rl_buf_fini(&first.out);
    rl_buf_fini(&second.out);
    return 0;
}
