/* witness.h - who is told why a consumer failed, in the log's place.
 *
 * A test holds the other end of its consumer's connection, and wants what the handler raised to
 * fail the test, with the traceback. It enters a witness for the connection; the consumer that a
 * request on it begins is the witness's from then on, also when the connection is gone. */
#ifndef RL_CORE_WITNESS_H
#define RL_CORE_WITNESS_H

#include "core/consumer.h"

typedef struct rl_witness rl_witness;

struct rl_witness {
    rl_list link;          /* on worker.witnesses */
    const rl_conn *stream; /* where its requests come */
    double consumer;       /* which the last one of them began; 0: none yet */
    /* The error is on top of co; text says who failed in what, with the traceback. */
    void (*hear)(rl_witness *w, lua_State *co, rl_str text);
};

/* The latest is asked first: streams that are gone leave their addresses to others. */
void rl_witness_enter(rl_worker *w, rl_witness *it);
void rl_witness_leave(rl_witness *it); /* nobody is told any more */

void rl_witness_meet(const rl_consumer *c); /* its request has come */
/* The witness of a consumer, by its number; NULL: none. */
rl_witness *rl_witness_of(const rl_worker *w, double consumer);

#endif
