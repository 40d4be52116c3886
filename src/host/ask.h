/* ask.h - questions that every worker answers on its own thread, between two events, or does not.
 *
 * A worker answers at the end of the handler it is in. One that does not within the question's
 * patience is silent, and is not asked again before it has answered: it owes at most one answer
 * to each of those who asked before that was noticed. Everything here is the main thread's. */
#ifndef RL_HOST_ASK_H
#define RL_HOST_ASK_H

#include "host/runner.h"

typedef struct rl_reply {
    const void *answer; /* NULL: there is none, the worker is silent or has ended */
    bool silent;
} rl_reply;

typedef struct rl_question {
    void (*look)(rl_worker *w, void *answer); /* there; fills in what was zeroed */
    size_t size;                              /* of an answer */
    /* ms; 0: as long as it takes. Then also those are asked who owe an answer, and whoever asks
     * should not ask again meanwhile. */
    uint64_t patience;
    /* Here, once, from the loop; replies are in the workers' order and borrowed for the call. Not
     * called any more after rl_asker_close(). */
    void (*told)(void *arg, const rl_reply *replies, unsigned n);
    void (*drop)(void *answer); /* frees what an answer holds; NULL: nothing */
} rl_question;

typedef struct rl_asker {
    rl_loop *main;
    rl_list open;
    unsigned owed[RL_MAX_WORKERS]; /* answers that are overdue */
} rl_asker;

void rl_asker_init(rl_asker *a, rl_loop *main);
/* When the workers' threads have ended. What they said last is freed with the loop. */
void rl_asker_close(rl_asker *a);

/* The question is a constant. */
void rl_asker_ask(rl_asker *a, rl_runner *const *runners, unsigned n, const rl_question *question,
                  void *arg);

#endif
