/* outside.h - the layer as far as other processes are concerned: the core's side of its backend.
 *
 * A backend is Lua (lua/rille/layer/outside.lua), an instance per worker. Here is what it waits
 * for, what it counts, and how consumers hear of it. Without one all of this is zero, and the
 * layer keeps nothing. */
#ifndef RL_CORE_OUTSIDE_H
#define RL_CORE_OUTSIDE_H

#include "vm/waiters.h"

/* X(name): messages, as the backend counts them. */
#define RL_OUTSIDE_MESSAGES(X)                              \
    X(sent)      /* handed to the backend */                \
    X(received)  /* of other processes, which it brought */ \
    X(refused)   /* not sent: it was out of reach */        \
    X(full)      /* not sent: as many wait there as may */  \
    X(expired)   /* had waited too long when they came */   \
    X(unheard)   /* came for nobody who is here */          \
    X(lost)      /* known to be lost on the way */          \
    X(malformed) /* of other processes, and no messages */

typedef struct rl_outside_figures {
    bool there; /* a backend */
    bool up;    /* and it has its connection */
#define RL_X(name) uint64_t name;
    RL_OUTSIDE_MESSAGES(RL_X)
#undef RL_X
    uint64_t outages; /* times that its connection was lost */
} rl_outside_figures;

/* What tasks wait for. */
enum rl_tiding {
    RL_TIDING_CHANGES, /* groups have begun or ended */
    RL_TIDING_ROUND,   /* the backend has followed them */
    RL_TIDING_STATE,   /* it came up, or went down */
    RL_TIDINGS,
};

typedef struct rl_outside {
    rl_waiters waiters[RL_TIDINGS];
    rl_outside_figures figures;
} rl_outside;

struct rl_worker;

void rl_outside_init(rl_outside *o);
void rl_outside_open(struct rl_worker *w); /* there is a backend: note what groups do */

/* Tell every consumer that is in a group, with an event { type = } (static), which is also told
 * into a full mailbox, but not twice in a row (delivery.c). */
void rl_worker_tell_members(struct rl_worker *w, const char *type);

#endif
