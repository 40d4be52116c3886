#include "layer/draft.h"

#include "proto/ws.h"

#include <stdio.h>
#include <string.h>

const char *rl_epoch_text(uint64_t epoch, char out[RL_EPOCH_SIZE])
{
    snprintf(out, RL_EPOCH_SIZE, "%016llx", (unsigned long long)epoch);
    return out;
}

bool rl_epoch_read(rl_str text, uint64_t *epoch)
{
    *epoch = 0;
    for (size_t i = 0; i < text.n; i++) {
        const char *digits = "0123456789abcdef", *at = memchr(digits, text.p[i], 16);
        if (!at)
            return false;
        *epoch = *epoch << 4 | (uint64_t)(at - digits);
    }
    return text.n == RL_EPOCH_SIZE - 1 && *epoch;
}

static rl_str trim(rl_str s)
{
    while (s.n && strchr(" \t\r\n", s.p[0]))
        s = (rl_str){s.p + 1, s.n - 1};
    while (s.n && strchr(" \t\r\n", s.p[s.n - 1]))
        s.n--;
    return s;
}

bool rl_draft_is_object(const rl_draft *d)
{
    rl_str s = trim(d->payload);

    return d->kind == RL_DRAFT_TEXT && s.n >= 2 && s.p[0] == '{' && s.p[s.n - 1] == '}';
}

/* What a stamped object ends with instead of its last brace. */
static size_t write_stamp(char *out, size_t size, const rl_place *at, bool alone)
{
    return (size_t)snprintf(out, size,
                            "%s\"history\":{\"group\":\"%.*s\",\"epoch\":\"%016llx\","
                            "\"offset\":%llu}}",
                            alone ? "" : ",", (int)at->group.n, at->group.p,
                            (unsigned long long)at->mark.epoch,
                            (unsigned long long)at->mark.offset);
}

rl_shared *rl_draft_frame(const rl_draft *d, const rl_place *place, bool stamp)
{
    char head[RL_WS_HEAD_MAX], tail[RL_LAYER_NAME_MAX + 100];
    rl_str text = d->payload;
    size_t ntail = 0;

    if (d->kind == RL_DRAFT_TABLE)
        return NULL;
    if (stamp && rl_draft_is_object(d)) {
        text = trim(text);
        text = trim((rl_str){text.p, text.n - 1});
        ntail = write_stamp(tail, sizeof(tail), place, text.n == 1);
    }
    size_t nhead = rl_ws_head(head, d->kind == RL_DRAFT_TEXT ? RL_WS_OP_TEXT : RL_WS_OP_BINARY,
                              text.n + ntail);
    rl_shared *frame = rl_shared_new(nhead + text.n + ntail);
    memcpy(frame->data, head, nhead);
    if (text.n)
        memcpy(frame->data + nhead, text.p, text.n);
    memcpy(frame->data + nhead + text.n, tail, ntail);
    return frame;
}
