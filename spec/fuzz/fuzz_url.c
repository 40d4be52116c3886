/* Targets, paths, forms and UTF-8. Decoding what was encoded gives it back. */
#include "fuzz.h"

#include "proto/url.h"

#define MUST(cond) ((cond) ? (void)0 : (fprintf(stderr, "not so: %s\n", #cond), abort()))

static bool clean(rl_str s) /* what every decoded string must be */
{
    return rl_utf8_valid(s) && (!s.n || !memchr(s.p, '\0', s.n));
}

static void fuzz_target(rl_str in)
{
    rl_url url;
    rl_buf out = {0};

    if (rl_url_split(&url, in, NULL) < 0)
        return;
    MUST(url.path.n > 0);
    if (rl_url_decode_path(&out, url.path, NULL) == 0)
        MUST(clean(rl_buf_str(&out)) && out.len <= url.path.n);
    rl_buf_fini(&out);
}

static void fuzz_form(rl_str in)
{
    rl_buf scratch = {0};
    rl_str key, value;
    size_t pairs = 0;
    int rc;

    while ((rc = rl_url_form_next(&in, &scratch, &key, &value, NULL)) != 0) {
        MUST(rc < 0 || (clean(key) && clean(value)));
        pairs++;
    }
    MUST(!in.p);
    rl_buf_fini(&scratch);
}

static void fuzz_round_trip(rl_str in)
{
    rl_buf raw = {0}, out = {0};

    for (size_t i = 0; i < in.n; i++)
        rl_buf_printf(&raw, "%%%02x", (unsigned)(uint8_t)in.p[i]);
    if (rl_url_decode_path(&out, rl_buf_str(&raw), NULL) == 0)
        MUST(rl_str_eq(rl_buf_str(&out), in));
    else
        MUST(!clean(in));
    rl_buf_fini(&raw);
    rl_buf_fini(&out);
}

static void fuzz_utf8(rl_str in, const size_t sizes[FUZZ_CUTS])
{
    rl_utf8 u = {0};
    bool ok = true;

    for (size_t at = 0, turn = 0; ok && at < in.n; turn++) {
        size_t n = trace_piece(&(trace_cuts){sizes, FUZZ_CUTS}, turn, in.n - at);
        ok = rl_utf8_feed(&u, in.p + at, n);
        at += n;
    }
    MUST(rl_utf8_valid(in) == (ok && rl_utf8_complete(&u)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rl_str in = {(const char *)data, size};
    size_t sizes[FUZZ_CUTS];

    fuzz_take_cuts(&in, sizes);
    fuzz_target(in);
    fuzz_form(in);
    fuzz_round_trip(in);
    fuzz_utf8(in, sizes);
    return 0;
}
