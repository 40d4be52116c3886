/* history.h - what groups were told, for those who come back.
 *
 * A process has one, which all workers use, under one lock that is held for some pointers and a
 * copy. A group that keeps its history has a stream here. Its messages have offsets, 1, 2, 3 and so
 * on without a gap, and an epoch: a random number that tells one life of a stream from the next,
 * so that nobody takes offsets of another for its own.
 *
 * The stream is also the order in which members hear. A worker with members of the group is a
 * reader: it delivers what stands behind its cursor, whoever wrote it. Who adds a message is told
 * which readers to wake; one that was woken is not woken again until it has read. So every member
 * of every worker hears the same messages in the same order, and somebody who was away can be given
 * what is missing between its own mark and a reader's cursor: no message is lost between the two,
 * and none comes twice.
 *
 * Bounded: a stream keeps `size` messages for `ttl`, and beyond that only what a reader has yet to
 * read; all streams together so many bytes, of which the stream that was silent longest gives up
 * its own first; and so many streams, of which one without readers is forgotten, the longest
 * unused first. A stream whose messages have gone still knows where it was: who missed nothing
 * while nothing was said is not told otherwise. */
#ifndef RL_LAYER_HISTORY_H
#define RL_LAYER_HISTORY_H

#include "layer/draft.h"
#include "layer/layer.h"

typedef struct rl_history rl_history;

typedef struct rl_history_limits {
    unsigned streams; /* default 10000 */
    size_t bytes;     /* default 64 MiB */
} rl_history_limits;

typedef struct rl_history_figures {
    size_t streams, messages, bytes;
    uint64_t added;
    uint64_t recovered, gaps; /* who came back and got all it had missed, or could not */
    uint64_t forgotten;       /* streams, for want of places */
    uint64_t evicted;         /* messages, for want of bytes before their time */
    uint64_t unread;          /* of them, and of those beyond a reader's patience: not delivered */
} rl_history_figures;

rl_history *rl_history_new(void);
void rl_history_free(rl_history *h);
void rl_history_limit(rl_history *h, const rl_history_limits *limits); /* zero: the default */
void rl_history_figures_of(rl_history *h, rl_history_figures *out);

/* Workers, by their seats. */
#define RL_SEATS 256
typedef struct rl_seats {
    uint64_t bits[RL_SEATS / 64];
} rl_seats;
static inline bool rl_seats_has(const rl_seats *s, unsigned seat)
{
    return s->bits[seat / 64] >> (seat % 64) & 1;
}

/* Give a message the next offset. `wake`: the readers that are to be woken; the writer itself
 * (seat) reads without. `now`: ms on the loop's clock. */
rl_mark rl_history_add(rl_history *h, rl_str group, const rl_keep *keep, const rl_draft *d,
                       uint64_t now, unsigned seat, rl_seats *wake);

/* Read from here on. Following twice is following; the first one's cursor stays. */
void rl_history_follow(rl_history *h, rl_str group, unsigned seat);
void rl_history_unfollow(rl_history *h, rl_str group, unsigned seat);

/* The next messages for a reader, at most n, in order; the references are yours. 0: it has read all
 * there is, or does not read. *lost: how many it will not get. */
unsigned rl_history_read(rl_history *h, rl_str group, unsigned seat, rl_message **out, unsigned n,
                         unsigned *lost);

/* Where a group's stream ends. */
rl_mark rl_history_mark(rl_history *h, rl_str group);

typedef enum rl_recovery {
    RL_RECOVERY_BEHIND, /* the reader has to read first; nothing was done */
    RL_RECOVERY_LEVEL,  /* nothing is missing between *since and the reader, which follows now */
    RL_RECOVERY_MORE,   /* here are *got messages; *since stands behind them */
    RL_RECOVERY_GAP,    /* what is missing is gone; *since stands at the end */
} rl_recovery;

/* A step of somebody's recovery on a reader's worker. A since without epoch is nobody's: it is put
 * `last` messages before the end, as far as there are so many. out has room for n. */
rl_recovery rl_history_recover(rl_history *h, rl_str group, unsigned seat, rl_mark *since,
                               uint64_t last, uint64_t now, rl_message **out, unsigned n,
                               unsigned *got);
/* A recovery came to its end. */
void rl_history_note(rl_history *h, bool recovered);

/* Let go of what is older than it may be. */
void rl_history_sweep(rl_history *h, uint64_t now);

#endif
