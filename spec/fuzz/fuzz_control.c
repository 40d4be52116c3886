/* The frames of a control socket, whole and as they come: the same ones, or the same refusal; and
 * what was taken is written again as it was. */
#include "fuzz.h"

#include "proto/control.h"

/* What there is of whole frames in *in leaves it. False: the rest are no frames. */
static bool take_all(rl_buf *in, rl_buf *out)
{
    rl_control_frame f;
    rl_buf again = {0};
    ssize_t n;

    while ((n = rl_control_take(rl_buf_str(in), &f)) > 0) {
        rl_buf_printf(out, "%02x %zu ", (uint8_t)f.kind, f.payload.n);
        rl_buf_add_str(out, f.payload);
        rl_buf_add_c(out, '\n');
        rl_control_put(&again, (rl_control_kind)f.kind, f.payload);
        if (!rl_str_eq(rl_buf_str(&again), (rl_str){in->data, (size_t)n}))
            abort();
        rl_buf_clear(&again);
        rl_buf_consume(in, (size_t)n);
    }
    rl_buf_fini(&again);
    if (n < 0)
        rl_buf_printf(out, "refused %zd\n", n);
    return n == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rl_str in = {(const char *)data, size};
    size_t sizes[FUZZ_CUTS];
    rl_buf whole = {0}, pieces = {0}, waiting = {0};

    fuzz_take_cuts(&in, sizes);
    rl_buf_add_str(&waiting, in);
    take_all(&waiting, &whole);
    rl_buf_fini(&waiting);

    bool good = true;
    for (size_t i = 0; good && in.n; i++) {
        size_t n = sizes[i % FUZZ_CUTS] < in.n ? sizes[i % FUZZ_CUTS] : in.n;
        rl_buf_add(&waiting, in.p, n);
        good = take_all(&waiting, &pieces);
        in = (rl_str){in.p + n, in.n - n};
    }
    rl_buf_fini(&waiting);
    fuzz_compare(&whole, &pieces);
    return 0;
}
