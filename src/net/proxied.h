/* proxied.h - connections of proxies that have yet to say for whom they speak.
 *
 *     accepted --trusted?--> awaited --header--> rl_server_admit() --> TLS, HTTP
 *
 * On an address with the option `proxy` (io/endpoint.h) a connection is a socket with a deadline,
 * the request_timeout, until its PROXY header is here; only then it becomes a connection, by the
 * client's address, with everything behind the header unread. Nobody is served there without a
 * header, and nobody's is read who is not one of server.trusted. Who is turned away is counted, and
 * said once per interval; a proxy that hangs up without a word only looked whether we are there. */
#ifndef RL_NET_PROXIED_H
#define RL_NET_PROXIED_H

#include "net/server.h"

/* Takes fd; counts as a connection from now on. */
void rl_proxied_await(rl_server *s, int fd, rl_tls *keys);
void rl_proxied_drop_all(rl_server *s);

#endif
