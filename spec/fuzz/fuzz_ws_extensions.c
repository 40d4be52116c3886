/* The offers of a client: whatever they say, what is agreed to is within what
 * was wanted, and the answer is a list itself. */
#include "fuzz.h"

#include "proto/ws_extensions.h"

#define MUST(cond) ((cond) ? (void)0 : (fprintf(stderr, "not so: %s\n", #cond), abort()))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rl_http_head head = {.minor = 1};
    rl_buf line = {0};
    rl_deflate_terms t;
    rl_deflate_settings wanted = {.takeover = size & 1,
                                  .peer_takeover = size & 2,
                                  .bits = (uint8_t)(9 + size % 7),
                                  .peer_bits = 12};
    char *value = rl_malloc(size ? size : 1);

    if (size)
        memcpy(value, data, size);
    rl_http_put_field(&head);
    rl_http_put_name(&head, RL_STR("Sec-WebSocket-Extensions"));
    rl_http_put_value(&head, (rl_str){value, size});
    rl_http_put_end(&head);
    (void)rl_ws_extensions_valid(&head);
    if (rl_ws_extensions_agree(&head, &wanted, &t, &line)) {
        MUST(t.bits >= 9 && t.bits <= wanted.bits);
        MUST(t.peer_bits >= 8 && (!t.peer_takeover || t.peer_bits <= wanted.peer_bits));
        MUST((!t.takeover || wanted.takeover) && (!t.peer_takeover || wanted.peer_takeover));
        MUST(line.len > 2 && memcmp(line.data + line.len - 2, "\r\n", 2) == 0);
        /* What was said is a list again, and leads to the same. */
        rl_str said = {line.data + 26, line.len - 28};
        rl_http_head_clear(&head);
        rl_http_put_field(&head);
        rl_http_put_name(&head, RL_STR("sec-websocket-extensions"));
        rl_http_put_value(&head, said);
        rl_http_put_end(&head);
        MUST(rl_ws_extensions_valid(&head));
    } else {
        MUST(line.len == 0);
    }
    rl_http_head_fini(&head);
    rl_buf_fini(&line);
    rl_free(value);
    return 0;
}
