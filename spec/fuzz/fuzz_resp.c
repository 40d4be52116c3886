/* The replies of a Redis, whole and in pieces: the same values, or the same refusal. */
#include "fuzz.h"

#include "proto/resp.h"

static void write_down(rl_buf *out, const rl_resp *reply)
{
    rl_buf_printf(out, "%d %lld [", reply->type, reply->integer);
    if (reply->type == RL_RESP_STRING || reply->type == RL_RESP_ERROR)
        rl_buf_add_str(out, reply->text);
    for (size_t i = 0; i < reply->n; i++)
        write_down(out, reply->items[i]);
    rl_buf_add(out, "]\n", 2);
}

/* False: it is no RESP. */
static bool feed(rl_resp_reader *r, rl_str part, rl_buf *out)
{
    rl_resp *reply;
    rl_err err;
    int rc = rl_resp_feed(r, part.p, part.n, &err);

    while (rc == 0 && (rc = rl_resp_next(r, &reply, &err)) == 1) {
        write_down(out, reply);
        rl_resp_free(reply);
        rc = 0;
    }
    if (rc == 0)
        return true;
    rl_buf_printf(out, "refused\n");
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rl_str in = {(const char *)data, size};
    size_t sizes[FUZZ_CUTS];
    rl_buf whole = {0}, pieces = {0};

    fuzz_take_cuts(&in, sizes);
    rl_resp_reader *r = rl_resp_reader_new();
    feed(r, in, &whole);
    rl_resp_reader_free(r);

    r = rl_resp_reader_new();
    bool good = true;
    for (size_t i = 0; good && in.n; i++) {
        size_t n = sizes[i % FUZZ_CUTS] < in.n ? sizes[i % FUZZ_CUTS] : in.n;
        good = feed(r, (rl_str){in.p, n}, &pieces);
        in = (rl_str){in.p + n, in.n - n};
    }
    rl_resp_reader_free(r);
    fuzz_compare(&whole, &pieces);
    return 0;
}
