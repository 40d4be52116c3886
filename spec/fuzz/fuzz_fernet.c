/* Fernet: nothing that we have not sealed is opened, and whatever we seal is. The first byte says
 * which of the two; a token of ours is then changed where the others say. */
#include "fuzz.h"

#include "proto/fernet.h"

#define MUST(cond) ((cond) ? (void)0 : (fprintf(stderr, "not so: %s\n", #cond), abort()))

enum { NOW = 1700000000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t iv[RL_FERNET_IV] = {1, 2, 3};
    rl_fernet_key keys[2] = {rl_fernet_derive(RL_STR("one")), rl_fernet_derive(RL_STR("two"))};
    rl_str in = {(const char *)data, size};
    rl_buf token = {0}, plain = {0};
    rl_err err;

    MUST(rl_fernet_open(keys, 2, NOW, 60, in, &plain, &err) < 0 && plain.len == 0);
    rl_fernet_seal(&keys[1], NOW, iv, in, &token);
    MUST(rl_fernet_open(keys, 2, NOW + 60, 60, rl_buf_str(&token), &plain, &err) == 0);
    MUST(rl_str_eq(rl_buf_str(&plain), in));
    rl_buf_clear(&plain);
    MUST(rl_fernet_open(keys, 2, NOW + 61, 60, rl_buf_str(&token), &plain, &err) < 0);
    MUST(rl_fernet_open(keys, 1, NOW, 60, rl_buf_str(&token), &plain, &err) < 0);
    if (size > 1) {
        size_t at =
            (data[0] * 256u + data[1]) % (token.len - 3); /* the last letters have spare bits */
        token.data[at] ^= 1 + data[size - 1] % 127;
        MUST(rl_fernet_open(keys, 2, NOW, 60, rl_buf_str(&token), &plain, &err) < 0);
        MUST(plain.len == 0);
    }
    rl_buf_fini(&token);
    rl_buf_fini(&plain);
    return 0;
}
