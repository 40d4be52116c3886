/* Requests of a client, one after another, with small limits so that they are met; and
 * the handshake, which must cope with whatever head passed. */
#include "fuzz.h"

#include "proto/http.h"
#include "proto/ws_shake.h"

static void shake(rl_str in)
{
    rl_http *h = rl_http_new(NULL);
    rl_http_event ev;
    rl_ws_shake out;

    rl_http_feed(h, in.p, in.n, &ev);
    if (ev.type == RL_HTTP_HEAD && rl_ws_shake_check(rl_http_head_of(h), &out) == RL_WS_SHAKE_BAD &&
        !out.why)
        abort();
    rl_http_free(h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const rl_http_limits limits = {
        .max_head = 300, .max_target = 40, .max_fields = 8, .max_body = 60};
    rl_str in = {(const char *)data, size};
    size_t sizes[FUZZ_CUTS];
    rl_buf whole = {0}, pieces = {0};

    fuzz_take_cuts(&in, sizes);
    trace_http(&whole, &limits, in, (trace_cuts){&in.n, 1});
    trace_http(&pieces, &limits, in, (trace_cuts){sizes, FUZZ_CUTS});
    fuzz_compare(&whole, &pieces);
    shake(in);
    return 0;
}
