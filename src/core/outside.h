/* outside.h - the layer as far as other processes are concerned: the core's side of its backend.
 *
 * A backend is Lua (lua/rille/layer/outside.lua), an instance per worker. Here is what it waits
 * for, what it counts, and how consumers hear of it. Without one all of this is zero, and the
 * layer keeps nothing. */
#ifndef RL_CORE_OUTSIDE_H
#define RL_CORE_OUTSIDE_H

#include "vm/waiters.h"

/* X(name, what it counts) */
#define RL_OUTSIDE_FIGURES(X)                                           \
    X(sent, "Messages handed to the layer's backend.")                  \
    X(received, "Messages of other processes that the backend brought") \
    X(refused, "Messages not sent: the backend was out of reach.")      \
    X(lost, "Messages that the backend knows to be lost.")              \
    X(malformed, "Messages of other processes that are none.")          \
    X(outages, "Times that the backend lost its connection.")

typedef struct rl_outside_figures {
    bool there; /* a backend */
    bool up;    /* and it has its connection */
#define RL_X(name, what) uint64_t name;
    RL_OUTSIDE_FIGURES(RL_X)
#undef RL_X
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
