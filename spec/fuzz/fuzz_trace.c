/* traceparent: what is read is well formed, and what is written of it is read back the same. And
 * what a log makes of anything has no control characters. */
#include "fuzz.h"

#include "base/escape.h"
#include "proto/trace.h"

#define MUST(cond) ((cond) ? (void)0 : (fprintf(stderr, "not so: %s\n", #cond), abort()))

static void fuzz_parent(rl_str in)
{
    rl_trace t, again;
    char text[RL_TRACE_PARENT_LEN + 1];

    if (!rl_trace_parse(&t, in))
        return;
    MUST(strlen(t.id) == RL_TRACE_ID_LEN && strspn(t.id, "0") < RL_TRACE_ID_LEN);
    MUST(strlen(t.span) == RL_TRACE_SPAN_LEN && strspn(t.span, "0") < RL_TRACE_SPAN_LEN);
    rl_trace_text(&t, text);
    MUST(rl_trace_parse(&again, rl_str_of(text)));
    MUST(strcmp(t.id, again.id) == 0 && strcmp(t.span, again.span) == 0);
    MUST(again.flags == (t.flags & 1));
}

static void must_be_quiet(rl_buf *b, bool lines)
{
    for (size_t i = 0; i < b->len; i++) {
        uint8_t c = (uint8_t)b->data[i];
        MUST((c >= 0x20 || (lines && (c == '\t' || c == '\n'))) && c != 0x7f);
        MUST(!lines || c != '\n' || (i + 2 < b->len && b->data[i + 1] == ' '));
    }
    MUST(rl_utf8_valid(rl_buf_str(b)));
    rl_buf_fini(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rl_str in = {(const char *)data, size};
    rl_buf out = {0};

    fuzz_parent(in);
    if (rl_trace_request_id_valid(in) || rl_trace_state_valid(in))
        MUST(rl_utf8_valid(in) && size > 0);
    rl_escape_line(&out, in);
    must_be_quiet(&out, true);
    rl_escape_value(&out, in);
    MUST(out.len >= 2 || size == 1);
    must_be_quiet(&out, false);
    rl_escape_json(&out, in);
    must_be_quiet(&out, false);
    return 0;
}
