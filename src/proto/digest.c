#include "proto/digest.h"

#include <openssl/sha.h>

void rl_digest(rl_str bytes, char out[RL_DIGEST_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[SHA256_DIGEST_LENGTH];

    SHA256((const uint8_t *)bytes.p, bytes.n, digest);
    for (size_t i = 0; i < sizeof(digest); i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[2 * sizeof(digest)] = '\0';
}
