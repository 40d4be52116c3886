#include "proto/fernet.h"

#include "proto/base64.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

enum {
    VERSION = 0x80,
    BLOCK = 16,
    HEAD = 1 + 8 + RL_FERNET_IV,
    MAC = 32,
    SKEW = 60, /* seconds that a clock may be ahead */
};

rl_fernet_key rl_fernet_derive(rl_str passphrase)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    rl_fernet_key key;

    SHA256((const uint8_t *)passphrase.p, passphrase.n, digest);
    memcpy(key.signing, digest, 16);
    memcpy(key.sealing, digest + 16, 16);
    OPENSSL_cleanse(digest, sizeof(digest));
    return key;
}

void rl_fernet_forget(rl_fernet_key *keys, size_t n)
{
    OPENSSL_cleanse(keys, n * sizeof(*keys));
}

static void sign(const rl_fernet_key *key, const uint8_t *p, size_t n, uint8_t mac[MAC])
{
    unsigned size = MAC;

    RL_CHECK(HMAC(EVP_sha256(), key->signing, sizeof(key->signing), p, n, mac, &size) != NULL);
}

/* -> bytes written; -1: what came out of it has no good padding */
static int crypt(const rl_fernet_key *key, const uint8_t *iv, bool seal, rl_str in, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0, last = 0;

    RL_CHECK(ctx != NULL);
    RL_CHECK(EVP_CipherInit_ex(ctx, EVP_aes_128_cbc(), NULL, key->sealing, iv, seal) == 1);
    bool good = EVP_CipherUpdate(ctx, out, &n, (const uint8_t *)in.p, (int)in.n) == 1 &&
                EVP_CipherFinal_ex(ctx, out + n, &last) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return good ? n + last : -1;
}

void rl_fernet_seal(const rl_fernet_key *key, uint64_t now, const uint8_t iv[RL_FERNET_IV],
                    rl_str plain, rl_buf *out)
{
    rl_buf raw = {0};

    rl_buf_reserve(&raw, HEAD + plain.n + BLOCK + MAC);
    uint8_t *p = (uint8_t *)raw.data;
    p[0] = VERSION;
    for (int i = 0; i < 8; i++)
        p[1 + i] = (uint8_t)(now >> (56 - 8 * i));
    memcpy(p + 9, iv, RL_FERNET_IV);
    int n = crypt(key, iv, true, plain, p + HEAD);
    RL_CHECK(n > 0);
    sign(key, p, HEAD + (size_t)n, p + HEAD + n);
    rl_base64_encode(out, (rl_str){raw.data, HEAD + (size_t)n + MAC}, RL_BASE64_URL);
    rl_buf_fini(&raw);
}

/* It has a head, whole blocks and a signature, and is not too old. */
static bool is_fit(const uint8_t *p, size_t n, uint64_t now, uint64_t ttl)
{
    uint64_t made = 0;

    if (n < HEAD + BLOCK + MAC || (n - HEAD - MAC) % BLOCK || p[0] != VERSION)
        return false;
    if (ttl == RL_FERNET_NO_TTL)
        return true;
    for (int i = 0; i < 8; i++)
        made = made << 8 | p[1 + i];
    return made <= now ? now - made <= ttl : made - now <= SKEW;
}

int rl_fernet_open(const rl_fernet_key *keys, size_t n, uint64_t now, uint64_t ttl, rl_str token,
                   rl_buf *out, rl_err *err)
{
    rl_buf raw = {0};
    uint8_t mac[MAC];
    int opened = -1;

    if (rl_base64_decode(&raw, token, RL_BASE64_URL) &&
        is_fit((uint8_t *)raw.data, raw.len, now, ttl)) {
        const uint8_t *p = (const uint8_t *)raw.data;
        size_t signed_ = raw.len - MAC;
        rl_str sealed = {raw.data + HEAD, signed_ - HEAD};
        rl_buf_reserve(out, sealed.n + BLOCK);
        for (size_t i = 0; i < n && opened < 0; i++) {
            sign(&keys[i], p, signed_, mac);
            if (CRYPTO_memcmp(mac, p + signed_, MAC) == 0)
                opened = crypt(&keys[i], p + 9, false, sealed, (uint8_t *)out->data + out->len);
        }
    }
    rl_buf_fini(&raw);
    if (opened < 0)
        return rl_err_set(err, RL_EPROTO,
                          "the message cannot be decrypted with any of the keys, "
                          "or is too old");
    out->len += (size_t)opened;
    return 0;
}
