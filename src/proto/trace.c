#include "proto/trace.h"

#include <stdio.h>

enum { MEMBERS_MAX = 32, REQUEST_ID_MAX = 128 };

static int hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_hex(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (hex_of(p[i]) < 0)
            return false;
    return true;
}

static bool is_zero(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != '0')
            return false;
    return true;
}

bool rl_trace_parse(rl_trace *out, rl_str s)
{
    const char *id = s.p + 3, *span = s.p + 36, *flags = s.p + 53;

    if (s.n < RL_TRACE_PARENT_LEN || s.p[2] != '-' || s.p[35] != '-' || s.p[52] != '-')
        return false;
    if (!is_hex(s.p, 2) || !is_hex(id, RL_TRACE_ID_LEN) || !is_hex(span, RL_TRACE_SPAN_LEN) ||
        !is_hex(flags, 2))
        return false;
    if (memcmp(s.p, "ff", 2) == 0 || is_zero(id, RL_TRACE_ID_LEN) ||
        is_zero(span, RL_TRACE_SPAN_LEN))
        return false;
    /* Version 00 ends here; a later one may go on behind another dash. */
    if (s.n > RL_TRACE_PARENT_LEN && (memcmp(s.p, "00", 2) == 0 || s.p[RL_TRACE_PARENT_LEN] != '-'))
        return false;

    memcpy(out->id, id, RL_TRACE_ID_LEN);
    out->id[RL_TRACE_ID_LEN] = '\0';
    memcpy(out->span, span, RL_TRACE_SPAN_LEN);
    out->span[RL_TRACE_SPAN_LEN] = '\0';
    out->flags = (uint8_t)(hex_of(flags[0]) << 4 | hex_of(flags[1]));
    return true;
}

void rl_trace_make_id(rl_trace *t, uint64_t high, uint64_t low)
{
    if (!high && !low)
        low = 1;
    snprintf(t->id, sizeof(t->id), "%016llx%016llx", (unsigned long long)high,
             (unsigned long long)low);
}

void rl_trace_make_span(rl_trace *t, uint64_t n)
{
    snprintf(t->span, sizeof(t->span), "%016llx", (unsigned long long)(n ? n : 1));
}

void rl_trace_text(const rl_trace *t, char out[RL_TRACE_PARENT_LEN + 1])
{
    snprintf(out, RL_TRACE_PARENT_LEN + 1, "00-%s-%s-%02x", t->id, t->span, t->flags & 1u);
}

bool rl_trace_state_valid(rl_str s)
{
    size_t members = 1;

    if (s.n == 0 || s.n > RL_TRACE_STATE_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = (uint8_t)s.p[i];
        if ((c < 0x20 && c != '\t') || c > 0x7e)
            return false;
        members += c == ',';
    }
    return members <= MEMBERS_MAX;
}

bool rl_trace_request_id_valid(rl_str id)
{
    if (id.n == 0 || id.n > REQUEST_ID_MAX)
        return false;
    for (size_t i = 0; i < id.n; i++) {
        char c = id.p[i];
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alnum && !memchr("_-.~+/=:@", c, 9))
            return false;
    }
    return true;
}
