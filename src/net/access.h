/* access.h - one line for a request that was answered, one for a WebSocket that has ended.
 *
 *     GET /rooms/1 200 bytes=512 ms=1.204 client=127.0.0.1 agent="curl/8.5" …
 *     WebSocket 1000 seconds=12.5 messages_in=3 messages_out=4 bytes_in=… bytes_out=… client=…
 *
 * In JSON all of that are members, the message is "request" or "websocket", and requests have a
 * referer. The thread's own fields (base/log.h) say whose it was: route, request id and so on. A
 * handshake is a request, with status 101; one that the client left before its answer was complete
 * is `aborted`, with status 499 when the answer had not begun. */
#ifndef RL_NET_ACCESS_H
#define RL_NET_ACCESS_H

#include "base/address.h"
#include "proto/http_head.h"

typedef struct rl_access {
    const rl_http_head *head; /* NULL: of a WebSocket; of one that is malformed what was read */
    int status;               /* of the answer; of a WebSocket the close code */
    bool aborted;
    uint64_t bytes_in, bytes_out; /* of a request only the latter */
    uint32_t messages_in, messages_out;
    double ms;       /* from the head to the end of the answer, or since the handshake */
    rl_address peer; /* whoever hears of it may know better, behind a proxy */
} rl_access;

void rl_access_log(const rl_access *a);

#endif
