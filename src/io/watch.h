/* watch.h - noticing that files changed, as editors, deploys and version control change them.
 *
 * Folders are watched, never files: a file's own watch ends with the first save that renames a new
 * file over it. Every folder on the way to a file is, from the root on, through symbolic links and
 * behind them; so a link that is turned, and a folder that goes and comes back, are noticed like a
 * save. In each only the names that lead to some file count.
 *
 * Events only start a look: after a pause without any, the files are compared by content with what
 * they held before, so that one save, or one checkout, however many events it makes, is one change,
 * and touching a file is none. A file that is missing or empty may be in the middle of being
 * written: a look that finds one waits a little. One that stays away is no change by itself, since
 * there would be nothing to load; that it is back with other content is one. */
#ifndef RL_IO_WATCH_H
#define RL_IO_WATCH_H

#include "io/loop.h"

typedef struct rl_watch rl_watch;
typedef void rl_watch_fn(void *arg); /* some file is not what it was */

rl_watch *rl_watch_open(rl_loop *loop, rl_watch_fn *fn, void *arg);

/* What a file holds, or that it is not there, as a number to be compared. fd: it is open there, and
 * is where it was afterwards; -1: it is found by its path. For any thread. */
uint64_t rl_watch_sum(const char *path, int fd);

/* This one, too, there or not, in which somebody has found what has this sum: what has changed by
 * now is a change. To be taken before it is read, so that one in between is a change, too. */
void rl_watch_add(rl_watch *w, const char *path, uint64_t sum);
/* From now on these and no others. What is known of one stays, should it have changed meanwhile. */
void rl_watch_set(rl_watch *w, char *const *paths, size_t n);
void rl_watch_close(rl_watch *w); /* NULL is fine */

#endif
