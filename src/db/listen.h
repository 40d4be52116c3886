/* listen.h - LISTEN: hearing what other sessions say with NOTIFY.
 *
 * All channels of a database share one connection beside the pool. It is dialled when the first
 * channel is opened, never too old or too idle, and closed behind the last channel. When it is
 * lost it is dialled anew in the rhythm of the pool; then every channel is listened to again,
 * and whoever listens is told that something may have been missed. A server that is down is no
 * error: it is tried until it is there, and told of. */
#ifndef RL_DB_LISTEN_H
#define RL_DB_LISTEN_H

#include "db/db.h"

#define RL_CHANNEL_NAME_MAX 63 /* bytes; PostgreSQL would cut a longer name off */

typedef struct rl_listen rl_listen; /* one who listens to one channel */

typedef enum rl_note_kind {
    RL_NOTE_SAID,
    RL_NOTE_HEARD, /* whatever is said from now on will be told */
    RL_NOTE_GAP,   /* likewise, but something may have been missed before */
    RL_NOTE_LOST,  /* nothing is heard until one of these two; once for each attempt that failed */
} rl_note_kind;

typedef struct rl_note {
    rl_note_kind kind;
    rl_str channel;
    rl_str payload; /* SAID; LOST: why */
    int pid;        /* SAID: of the session that said it */
} rl_note;

/* Comes from the loop. The note is valid during the call, which may close this rl_listen. */
typedef void rl_note_fn(void *arg, const rl_note *note);

/* Any number may listen to the same channel, whose name may hold anything but NUL. */
int rl_listen_open(rl_listen **out, rl_db *db, rl_str channel, rl_note_fn *fn, void *arg,
                   rl_err *err) RL_MUST_USE;

/* fn will not be called any more. NULL is fine, and so is one whose db is closing or closed. */
void rl_listen_close(rl_listen *l);

#endif
