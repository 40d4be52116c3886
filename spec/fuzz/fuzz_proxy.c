/* PROXY headers. Until a header ends it is unfinished, and nothing behind it matters. */
#include "fuzz.h"

#include "proto/proxy.h"

#define MUST(cond) ((cond) ? (void)0 : (fprintf(stderr, "not so: %s\n", #cond), abort()))

/* From a block of its own size, so that the sanitizers see a step beyond it. */
static int parse(rl_proxy *out, rl_str in, size_t n)
{
    char *copy = rl_malloc(n ? n : 1);

    memcpy(copy, in.p, n);
    int rc = rl_proxy_parse(out, (rl_str){copy, n}, NULL);
    rl_free(copy);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rl_str in = {(const char *)data, size};
    size_t sizes[FUZZ_CUTS], at = 0;
    rl_proxy whole, part;
    int rc = 0;

    fuzz_take_cuts(&in, sizes);
    int expected = parse(&whole, in, in.n);
    MUST(expected <= RL_PROXY_MAX && expected <= (int)in.n);
    for (size_t turn = 0; rc == 0 && at < in.n; turn++) {
        at += trace_piece(&(trace_cuts){sizes, FUZZ_CUTS}, turn, in.n - at);
        rc = parse(&part, in, at);
    }
    /* A piece may show what is wrong before the whole would. */
    MUST(rc == expected || (rc < 0 && expected < 0));
    if (rc <= 0)
        return 0;
    MUST(memcmp(&whole, &part, sizeof(whole)) == 0);
    MUST(whole.local || whole.source.family != RL_ADDRESS_UNIX);
    if (expected > 0 && (size_t)expected < in.n)
        MUST(parse(&part, in, (size_t)expected) == expected);
    MUST(parse(&part, in, (size_t)expected - 1) == 0);
    return 0;
}
