/* giving.h - what a process hands to the one that takes over, written on their link: sockets that
 * listen, then connections. inherit.h is the other end. Blocking, for as long as link.h says. */
#ifndef RL_CONTROL_GIVING_H
#define RL_CONTROL_GIVING_H

#include "base/list.h"
#include "control/link.h"
#include "io/bind.h"

/* What there is to give; the sockets stay whose they are, also their files until handed_over. */
typedef struct rl_estate {
    const rl_bound *sockets; /* worker 0's n, worker 1's, … */
    unsigned n;
    const rl_bindings *public;          /* those of worker 0, with their files */
    const rl_bindings *admin, *control; /* may be empty; NULL: not given away */
    char *const *argv;
} rl_estate;

/* LISTENER for each, then HAVE. */
int rl_give_sockets(int link, const rl_estate *estate, unsigned workers) RL_MUST_USE;
/* CONNECTIONS: rl_moving (core/moving.h) of one worker, which stay the caller's. given grows by
 * those that were sent; who holds too much to fit a packet is left out, and told in the log. */
int rl_give_connections(int link, unsigned worker, const rl_list *moving,
                        unsigned *given) RL_MUST_USE;

#endif
