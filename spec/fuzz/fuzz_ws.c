/* Frames of a client, read whole and in pieces, under limits small enough to be
 * met; once as without an extension, once with permessage-deflate, and once
 * with the client's window kept. */
#include "fuzz.h"

#include "proto/ws.h"

static const rl_ws_rules rules = {.max_message = 300, .max_frame = 280};

static void read_cut(rl_buf *out, int how, rl_str in, trace_cuts cuts)
{
    static const rl_deflate_settings settings;
    rl_deflate_shared shared = {.inflated = 0};
    rl_deflate_terms terms = {.bits = 15, .peer_bits = 9, .peer_takeover = how == 2};
    rl_deflate *deflate = how ? rl_deflate_new(&shared, &settings, &terms) : NULL;

    trace_ws_deflate(out, &rules, deflate, in, cuts);
    rl_deflate_shared_fini(&shared);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rl_str in = {(const char *)data, size};
    size_t sizes[FUZZ_CUTS];

    fuzz_take_cuts(&in, sizes);
    for (int how = 0; how < 3; how++) {
        rl_buf whole = {0}, pieces = {0};
        read_cut(&whole, how, in, (trace_cuts){&in.n, 1});
        read_cut(&pieces, how, in, (trace_cuts){sizes, FUZZ_CUTS});
        fuzz_compare(&whole, &pieces);
    }
    return 0;
}
