/* fernet.h - sealed messages (https://github.com/fernet/spec/blob/master/Spec.md), with the keys of
 * channels_redis: the SHA-256 of what people wrote down.
 *
 *     token = base64url(0x80, time of 8 bytes, IV of 16, AES-128-CBC, HMAC-SHA256 of all before)
 *
 * Pure: the time and the IV are the caller's. */
#ifndef RL_PROTO_FERNET_H
#define RL_PROTO_FERNET_H

#include "base/buf.h"
#include "base/err.h"

#define RL_FERNET_IV 16

typedef struct rl_fernet_key {
    uint8_t signing[16], sealing[16];
} rl_fernet_key;

rl_fernet_key rl_fernet_derive(rl_str passphrase);
void rl_fernet_forget(rl_fernet_key *keys, size_t n); /* nothing of them stays in memory */

/* Append the token. The IV must be random, and never be used again. */
void rl_fernet_seal(const rl_fernet_key *key, uint64_t now, const uint8_t iv[RL_FERNET_IV],
                    rl_str plain, rl_buf *out);

#define RL_FERNET_NO_TTL UINT64_MAX

/* Append what a token holds, sealed by any of the keys. With a ttl (seconds) it must not be older,
 * nor more than a minute from the future. RL_EPROTO, always with the same sentence: what was wrong
 * is nobody's business. */
int rl_fernet_open(const rl_fernet_key *keys, size_t n, uint64_t now, uint64_t ttl, rl_str token,
                   rl_buf *out, rl_err *err) RL_MUST_USE;

#endif
