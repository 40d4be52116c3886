#include "base/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

rl_address rl_address_of_ipv4(const void *bytes, uint16_t port)
{
    rl_address out = {.family = RL_ADDRESS_IPV4, .port = port};

    memcpy(out.bytes, bytes, 4);
    return out;
}

rl_address rl_address_of_ipv6(const void *bytes, uint16_t port)
{
    rl_address out = {.family = RL_ADDRESS_IPV6, .port = port};

    if (memcmp(bytes, mapped, sizeof(mapped)) == 0)
        return rl_address_of_ipv4((const uint8_t *)bytes + sizeof(mapped), port);
    memcpy(out.bytes, bytes, 16);
    return out;
}

rl_address rl_address_of_sockaddr(const struct sockaddr_storage *addr)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)addr;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)addr;

    switch (addr->ss_family) {
    case AF_INET:
        return rl_address_of_ipv4(&in->sin_addr, ntohs(in->sin_port));
    case AF_INET6:
        return rl_address_of_ipv6(&in6->sin6_addr, ntohs(in6->sin6_port));
    case AF_UNIX:
        return (rl_address){.family = RL_ADDRESS_UNIX};
    default: /* the peer is gone, and its address with it: nobody to trust */
        return (rl_address){.family = RL_ADDRESS_UNKNOWN};
    }
}

bool rl_address_parse(rl_address *out, rl_str text)
{
    char copy[RL_HOST_MAX];
    uint8_t bytes[16];

    if (text.n == 0 || text.n >= sizeof(copy))
        return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    if (strlen(copy) != text.n)
        return false;
    if (inet_pton(AF_INET, copy, bytes) == 1)
        *out = rl_address_of_ipv4(bytes, 0);
    else if (inet_pton(AF_INET6, copy, bytes) == 1)
        *out = rl_address_of_ipv6(bytes, 0);
    else
        return false;
    return true;
}

const char *rl_address_text(const rl_address *a, char out[RL_HOST_MAX])
{
    out[0] = '\0';
    if (rl_address_is_ip(a))
        inet_ntop(a->family == RL_ADDRESS_IPV4 ? AF_INET : AF_INET6, a->bytes, out, RL_HOST_MAX);
    return out;
}
