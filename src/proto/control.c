#include "proto/control.h"

enum { HEAD = 4 };

ssize_t rl_control_take(rl_str data, rl_control_frame *out)
{
    const uint8_t *p = (const uint8_t *)data.p;

    if (data.n < HEAD)
        return 0;
    size_t n = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    if (n == 0)
        return RL_EPROTO;
    if (n > RL_CONTROL_MAX)
        return RL_ETOOBIG;
    if (data.n - HEAD < n)
        return 0;
    *out = (rl_control_frame){data.p[HEAD], {data.p + HEAD + 1, n - 1}};
    return (ssize_t)(HEAD + n);
}

void rl_control_put(rl_buf *out, rl_control_kind kind, rl_str payload)
{
    size_t n = payload.n < RL_CONTROL_MAX ? payload.n + 1 : RL_CONTROL_MAX;
    const uint8_t head[HEAD + 1] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8),
                                    (uint8_t)n, (uint8_t)kind};

    rl_buf_add(out, head, sizeof(head));
    rl_buf_add(out, payload.p, n - 1);
}
