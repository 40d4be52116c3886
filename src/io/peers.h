/* peers.h - how many connections each address has, over all threads of the process.
 *
 * Counted are sockets that were entered and have not left; an IPv6 address counts by its first 64
 * bits, since whoever has one has them all. Sockets without an address (Unix) are not counted. */
#ifndef RL_IO_PEERS_H
#define RL_IO_PEERS_H

#include "base/address.h"

/* False: its address has `most` already; it is not counted. client: whose address that is; NULL:
 * the socket's peer's. */
bool rl_peers_enter(int fd, const rl_address *client, unsigned most);
void rl_peers_leave(int fd); /* before it is closed; nothing happens to one that never entered */

#endif
