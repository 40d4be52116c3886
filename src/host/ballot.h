/* ballot.h - one change of the code: what every worker says of it before any of them makes it.
 *
 * Each makes ready and votes: yes, with what it has read, or no, with the reason. The first reason
 * counts, and is told once. Workers read the files one after another, so somebody may have written
 * to one in between: two that read a file differently have torn the ballot, and it is to be held
 * again. (They need not have read the same files.)
 *
 * Main thread. */
#ifndef RL_HOST_BALLOT_H
#define RL_HOST_BALLOT_H

#include "host/report.h"
#include "base/map.h"

typedef struct rl_ballot {
    rl_change what;
    unsigned attempt; /* counts all: a vote of another one comes too late */
    unsigned tears;   /* of this change */
    unsigned voted, agreed;
    bool torn;
    char *why; /* of the first that refused; NULL: nobody has */
    unsigned who;
    rl_map files; /* every file that was read, to its digest */
    char *votes;  /* one for each worker: has it voted? */
    unsigned workers;
} rl_ballot;

typedef enum rl_verdict {
    RL_VERDICT_OPEN,  /* votes are missing */
    RL_VERDICT_MAKE,  /* all have agreed */
    RL_VERDICT_AGAIN, /* torn */
    RL_VERDICT_NOT,
} rl_verdict;

void rl_ballot_hold(rl_ballot *b, rl_change what, unsigned workers); /* for the first time, */
void rl_ballot_hold_again(rl_ballot *b);
rl_verdict rl_ballot_vote(rl_ballot *b, unsigned worker, const rl_report *rep);
/* No more votes: those that are missing were refusals. */
void rl_ballot_end(rl_ballot *b, uint64_t patience);

char *rl_ballot_reason(const rl_ballot *b); /* why not; yours */

/* Also of loads without a ballot, at the start: what was read. True: it fits to what others have
 * read. */
bool rl_ballot_collect(rl_ballot *b, const rl_loaded *loaded);
/* Their paths, for rl_ballot_free_files(). */
char **rl_ballot_files(const rl_ballot *b, size_t *n);
void rl_ballot_free_files(char **files, size_t n);

void rl_ballot_fini(rl_ballot *b);

#endif
