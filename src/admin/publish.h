/* publish.h - POST /publish at the admin address: a message for the layer, from outside.
 *
 * The main thread takes the request, a worker (they take turns) looks into it, sends, and says
 * what became of it: lua/rille/publish.lua has the rules, of which the first is a token. When the
 * worker takes longer than the limit publish_timeout, the answer is 504; what it sends then is
 * sent. */
#ifndef RL_ADMIN_PUBLISH_H
#define RL_ADMIN_PUBLISH_H

#include "host/workers.h"
#include "io/timeout.h"
#include "net/http_conn.h"

#define RL_PUBLISH_MAX (1024 * 1024) /* bytes of a body */

typedef struct rl_publisher {
    rl_workers *workers;
    rl_loop *main;
    rl_timeouts patience;
    unsigned turn;
} rl_publisher;

void rl_publisher_init(rl_publisher *p, rl_workers *workers, rl_loop *main);
void rl_publisher_close(rl_publisher *p); /* every connection has been cut */

void rl_publish(rl_publisher *p, rl_http_conn *hc); /* answers it */

#endif
