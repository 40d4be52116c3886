/* ws_shake.h - the opening handshake of a WebSocket, the server's half (RFC 6455
 * section 4.2). Whether the origin may, and which subprotocol to speak, is not asked
 * here. */
#ifndef RL_PROTO_WS_SHAKE_H
#define RL_PROTO_WS_SHAKE_H

#include "proto/http_head.h"

#define RL_WS_ACCEPT_LEN 28

typedef enum rl_ws_shake_result {
    RL_WS_SHAKE_NOT, /* an ordinary request: it does not ask for a WebSocket */
    RL_WS_SHAKE_OK,  /* answer 101, with what rl_ws_accept() makes of `key` */
    RL_WS_SHAKE_BAD, /* answer `status`; with 426 goes "Sec-WebSocket-Version: 13" */
} rl_ws_shake_result;

typedef struct rl_ws_shake {
    rl_str key;      /* of a good one: the value of Sec-WebSocket-Key, in the head */
    int status;      /* 400 or 426 */
    const char *why; /* static, in English */
} rl_ws_shake;

rl_ws_shake_result rl_ws_shake_check(const rl_http_head *head, rl_ws_shake *out);

/* The value of Sec-WebSocket-Accept for a key that is a good one (section 4.2.2, step 5.4). The key
 * is hashed as it was sent. */
void rl_ws_accept(rl_str key, char out[RL_WS_ACCEPT_LEN + 1]);

#endif
