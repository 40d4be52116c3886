/* fuzz.h - how a fuzzer cuts its input: the first bytes say, the rest is the stream. */
#ifndef RL_SPEC_FUZZ_H
#define RL_SPEC_FUZZ_H

#include "../support/trace.h"

#include <stdio.h>
#include <stdlib.h>

#define FUZZ_CUTS 4 /* lengths of pieces, one byte each, used in turn */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Take the lengths off the front of *in. At least one of them is not 0. */
static inline void fuzz_take_cuts(rl_str *in, size_t sizes[FUZZ_CUTS])
{
    for (size_t i = 0; i < FUZZ_CUTS; i++)
        sizes[i] = i < in->n ? (uint8_t)in->p[i] : 0;
    sizes[0] += !sizes[0];
    size_t n = in->n < FUZZ_CUTS ? in->n : FUZZ_CUTS;
    *in = (rl_str){in->p + n, in->n - n};
}

/* What the two ways of cutting came to must be the same. */
static inline void fuzz_compare(rl_buf *whole, rl_buf *pieces)
{
    if (!rl_str_eq(rl_buf_str(whole), rl_buf_str(pieces))) {
        fprintf(stderr, "whole:\n%s\nin pieces:\n%s\n", rl_buf_cstr(whole), rl_buf_cstr(pieces));
        abort();
    }
    rl_buf_fini(whole);
    rl_buf_fini(pieces);
}

#endif
