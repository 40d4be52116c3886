#include "proto/base64.h"

#include <openssl/evp.h>

#define COMMON "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static const char letters[][65] = {
    [RL_BASE64] = COMMON "+/",
    [RL_BASE64_URL] = COMMON "-_",
};

/* From one kind's last two letters to another's. */
static void swap_letters(char *p, size_t n, rl_base64 from, rl_base64 to)
{
    for (size_t i = 0; from != to && i < n; i++)
        for (int k = 62; k < 64; k++)
            if (p[i] == letters[from][k])
                p[i] = letters[to][k];
}

void rl_base64_encode(rl_buf *out, rl_str bytes, rl_base64 kind)
{
    RL_CHECK(bytes.n <= RL_BASE64_MAX);
    rl_buf_reserve(out, (bytes.n + 2) / 3 * 4 + 1);
    char *at = out->data + out->len;
    int n = EVP_EncodeBlock((uint8_t *)at, (const uint8_t *)bytes.p, (int)bytes.n);
    swap_letters(at, (size_t)n, RL_BASE64, kind);
    out->len += (size_t)n;
}

bool rl_base64_decode(rl_buf *out, rl_str text, rl_base64 kind)
{
    rl_buf plain = {0};
    size_t padding = 0;

    while (padding < 2 && padding < text.n && text.p[text.n - 1 - padding] == '=')
        padding++;
    if (text.n % 4 || text.n > RL_BASE64_MAX)
        return false;
    for (size_t i = 0; i < text.n - padding; i++)
        if (!memchr(letters[kind], text.p[i], 64))
            return false;
    if (kind != RL_BASE64) {
        rl_buf_add_str(&plain, text);
        swap_letters(plain.data, plain.len, kind, RL_BASE64);
        text = rl_buf_str(&plain);
    }
    rl_buf_reserve(out, text.n / 4 * 3 + 1);
    int n = EVP_DecodeBlock((uint8_t *)out->data + out->len, (const uint8_t *)text.p, (int)text.n);
    rl_buf_fini(&plain);
    if (n < 0)
        return false;
    out->len += (size_t)n - padding;
    return true;
}
