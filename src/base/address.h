/* address.h - where a peer is: an IP address and a port, small enough to keep one per connection.
 *
 * An IPv4 address that arrived through an IPv6 socket (::ffff:192.0.2.1) is an IPv4 address here:
 * whoever compares addresses must not meet one machine under two names. */
#ifndef RL_BASE_ADDRESS_H
#define RL_BASE_ADDRESS_H

#include "base/str.h"

#include <sys/socket.h>

#define RL_HOST_MAX 46 /* bytes of an address as text, with its NUL */

enum rl_address_family {
    RL_ADDRESS_UNIX = 0,    /* a Unix socket, which has no address worth telling */
    RL_ADDRESS_UNKNOWN = 1, /* somebody in between does not know, or does not tell */
    RL_ADDRESS_IPV4 = 4,
    RL_ADDRESS_IPV6 = 6,
};

typedef struct rl_address {
    uint8_t bytes[16]; /* in network order; of IPv4 the first four, the rest is 0 */
    uint16_t port;     /* 0: not known */
    uint8_t family;    /* an rl_address_family */
} rl_address;

static inline bool rl_address_is_ip(const rl_address *a)
{
    return a->family >= RL_ADDRESS_IPV4;
}

rl_address rl_address_of_ipv4(const void *bytes, uint16_t port);
rl_address rl_address_of_ipv6(const void *bytes, uint16_t port); /* IPv4 when it is mapped */
rl_address rl_address_of_sockaddr(const struct sockaddr_storage *addr);

/* "192.0.2.1", "2001:db8::1": nothing around it, no port, no zone. False if it is not one. */
bool rl_address_parse(rl_address *out, rl_str text);

/* As rl_address_parse() takes it; "" for what is no IP address. Returns out. */
const char *rl_address_text(const rl_address *a, char out[RL_HOST_MAX]);

#endif
