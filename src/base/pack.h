/* pack.h - numbers and bytes in one piece, for another process of the same machine to take apart:
 * four bytes each in this machine's order, bytes behind their number. */
#ifndef RL_BASE_PACK_H
#define RL_BASE_PACK_H

#include "base/buf.h"

#include <string.h>

static inline void rl_pack_u32(rl_buf *out, uint32_t value)
{
    rl_buf_add(out, &value, sizeof(value));
}

static inline void rl_pack_bytes(rl_buf *out, rl_str bytes)
{
    rl_pack_u32(out, (uint32_t)bytes.n);
    rl_buf_add_str(out, bytes);
}

/* From the front of *in. False: it is not there, and *in is as it was. */
static inline bool rl_unpack_u32(rl_str *in, uint32_t *value)
{
    if (in->n < sizeof(*value))
        return false;
    memcpy(value, in->p, sizeof(*value));
    *in = (rl_str){in->p + sizeof(*value), in->n - sizeof(*value)};
    return true;
}

static inline bool rl_unpack_bytes(rl_str *in, rl_str *bytes)
{
    rl_str rest = *in;
    uint32_t n;

    if (!rl_unpack_u32(&rest, &n) || rest.n < n)
        return false;
    *bytes = (rl_str){rest.p, n};
    *in = (rl_str){rest.p + n, rest.n - n};
    return true;
}

#endif
