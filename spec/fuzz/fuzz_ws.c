/* Frames of a client, read whole and in pieces, under limits small enough to be met. */
#include "fuzz.h"

#include "proto/ws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const rl_ws_rules rules = {.max_message = 300, .max_frame = 280};
    rl_str in = {(const char *)data, size};
    size_t sizes[FUZZ_CUTS];
    rl_buf whole = {0}, pieces = {0};

    fuzz_take_cuts(&in, sizes);
    trace_ws(&whole, &rules, in, (trace_cuts){&in.n, 1});
    trace_ws(&pieces, &rules, in, (trace_cuts){sizes, FUZZ_CUTS});
    fuzz_compare(&whole, &pieces);
    return 0;
}
