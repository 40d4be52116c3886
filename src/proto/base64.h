/* base64.h - bytes as letters (RFC 4648): 4 for 3, padded with "=". */
#ifndef RL_PROTO_BASE64_H
#define RL_PROTO_BASE64_H

#include "base/buf.h"

#define RL_BASE64_MAX (512u << 20) /* bytes of either side: OpenSSL counts in int */

typedef enum rl_base64 {
    RL_BASE64,     /* its last two letters are + and / */
    RL_BASE64_URL, /* - and _ */
} rl_base64;

/* Append the letters of at most RL_BASE64_MAX bytes. */
void rl_base64_encode(rl_buf *out, rl_str bytes, rl_base64 kind);

/* Append the bytes. False, and nothing is appended: there are other characters among the letters,
 * or the padding is missing. */
bool rl_base64_decode(rl_buf *out, rl_str text, rl_base64 kind);

#endif
