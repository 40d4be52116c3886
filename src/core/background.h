/* background.h - consumers without a peer, which answer what a source tells them: a channel of a
 * database, a timer, a broker.
 *
 * They are consumers like any other: one event at a time, the database boundary around each,
 * groups and a channel, tasks of their own, disconnect exactly once as the last event. Two things
 * differ. A handler that raises is logged, and the next event follows. And since nobody can be
 * made to wait, a full mailbox drops what comes, which is counted and told in the log; it has room
 * for ten times what a client's has.
 *
 * One lives until rl_consumer_leave(). What was posted before is still handled, as long as the
 * grace of an abandoned handler lasts. */
#ifndef RL_CORE_BACKGROUND_H
#define RL_CORE_BACKGROUND_H

#include "core/consumer.h"
#include "core/event.h"

/* Embedded first in the source's own struct; the consumer's to close. */
struct rl_source {
    rl_consumer *consumer;
    void (*close)(rl_source *s); /* called once: post nothing more, and free yourself */
    unsigned untold;             /* events dropped that the log has not told of */
    uint64_t told_at;            /* ms on the loop's clock; 0: never */
};

/* origin, a table on L's stack, is what dispatch.background makes self of, soon. Should that
 * fail, it is tried again when the next event comes. May raise, before anything has happened. A
 * patient one that leaves waits for its handler until the drain is over. */
rl_consumer *rl_background_open(rl_worker *w, lua_State *L, int origin, bool patient);
void rl_background_feed(rl_consumer *c, rl_source *s); /* s is filled in but for consumer */

/* An event { type =, … } for the consumer's handler of that type (static). False: dropped. */
bool rl_source_post(rl_source *s, const char *type, const rl_field *fields, unsigned n);
/* Also into a full mailbox: for a source that stops by itself, and what it may not lose. */
void rl_source_put(rl_source *s, const char *type, const rl_field *fields, unsigned n,
                   rl_outcome *outcome);
void rl_source_drop(rl_source *s); /* an event for which the source itself sees no room */
/* For what says the same each time: also into a full mailbox, but not behind another of it. */
void rl_source_remind(rl_source *s, const char *type, const rl_field *fields, unsigned n);

/* An event for one that has nothing else to do. */
typedef enum rl_ticked {
    RL_TICK_BEGINS,
    RL_TICK_SKIPPED, /* a handler is under way: counted */
    RL_TICK_OVER,    /* it leaves */
} rl_ticked;
rl_ticked rl_background_tick(rl_consumer *c, const char *type, const rl_field *fields, unsigned n);

/* An event of which somebody wants to know what became of it, for one that does not leave. */
void rl_background_work(rl_consumer *c, const char *type, const rl_field *fields, unsigned n,
                        rl_outcome *outcome);

/* For consumer.c: make self. */
void rl_background_begin(rl_consumer *c);

#endif
