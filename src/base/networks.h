/* networks.h - a set of addresses: whom to believe.
 *
 * Made of words: an address ("192.0.2.1"), a network ("10.0.0.0/8", "2001:db8::/32"), "loopback"
 * (127.0.0.0/8 and ::1), "private" (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 and fc00::/7), and
 * "unix", whoever may open our Unix sockets. A zeroed struct is the empty set. */
#ifndef RL_BASE_NETWORKS_H
#define RL_BASE_NETWORKS_H

#include "base/address.h"
#include "base/err.h"

typedef struct rl_network {
    rl_address first; /* its lowest address */
    uint8_t bits;     /* how many of them all its addresses share */
} rl_network;

typedef struct rl_networks {
    rl_network *list;
    size_t n;
    bool unix_peers;
} rl_networks;

void rl_networks_fini(rl_networks *set);

/* Add one word, or several with commas or spaces between them. On failure, told in a sentence, the
 * set is as before or holds the words in front of the bad one. */
int rl_networks_add(rl_networks *set, rl_str words, rl_err *err) RL_MUST_USE;

static inline bool rl_networks_empty(const rl_networks *set)
{
    return set->n == 0 && !set->unix_peers;
}

bool rl_networks_has(const rl_networks *set, const rl_address *a);

#endif
