/* loop.h - one libuv loop with the phases that the rest of rille hangs on.
 *
 * A turn is: timers, sockets, then the turn's hooks, phase by phase, until none of them did
 * anything. Work that many callbacks of a turn produce together
 * (running tasks, flushing sockets, flushing pipelines) belongs in a hook, so that it
 * is done once. One loop per thread; nothing here is safe from another one but
 * rl_loop_post(). */
#ifndef RL_IO_LOOP_H
#define RL_IO_LOOP_H

#include "base/clock.h"
#include "base/counters.h"
#include "base/histogram.h"
#include "base/list.h"
#include "base/queue.h"

#include <uv.h>

#define RL_LOOP_RECV_SIZE (64 * 1024)

typedef struct rl_loop rl_loop;
typedef struct rl_hook rl_hook;
typedef struct rl_post rl_post;

/* Returns true if it did something that may have given other hooks work. */
typedef bool rl_hook_fn(rl_hook *hook);

/* What a turn's hooks do, in this order: run what is ready, ask others (databases) for what that
 * wants, and only then write to the peers, so that the others work meanwhile. */
typedef enum rl_phase { RL_PHASE_RUN, RL_PHASE_ASK, RL_PHASE_WRITE } rl_phase;

struct rl_hook {
    rl_hook_fn *fn;
    rl_phase phase;
    rl_list link;
};

/* A call from another thread. */
struct rl_post {
    void (*fn)(rl_post *post); /* runs on the loop; the memory is its to free */
    rl_list link;
};

struct rl_loop {
    uv_loop_t uv;
    uv_prepare_t prepare; /* hooks for what timers and posts produced */
    uv_check_t check;     /* hooks for what sockets produced */
    uv_idle_t spin;       /* active: do not sleep, a hook has more to do */
    uv_async_t wake;
    rl_queue posts;
    rl_list hooks;
    bool kicked;         /* since the present round of hooks began */
    bool posting_closed; /* guarded by posts.lock */
    char *recv;          /* RL_LOOP_RECV_SIZE bytes that any callback may read into */
    rl_counters counters;
    uint64_t polled;     /* ms: when the present turn's sockets were asked */
    uint64_t turns;      /* so many; those that took no whole millisecond are not in */
    rl_histogram stalls; /* how long the others took from there to the next look: the loop's lag */
};

int rl_loop_init(rl_loop *loop) RL_MUST_USE; /* 0 or negative, libuv's */

/* Everything else must be closed or closing: runs the loop until the last handle is
 * gone. In debug builds it names what is still open and aborts. */
void rl_loop_fini(rl_loop *loop);

/* Until rl_loop_stop(). */
void rl_loop_run(rl_loop *loop);
void rl_loop_stop(rl_loop *loop);

/* It runs after every hook of its phase that was added before. */
void rl_loop_add_hook(rl_loop *loop, rl_phase phase, rl_hook *hook, rl_hook_fn *fn);
void rl_loop_remove_hook(rl_hook *hook);

/* Have the hooks run soon even if nothing else happens. */
void rl_loop_kick(rl_loop *loop);

/* ms since an arbitrary point, as of the start of this turn. */
static inline uint64_t rl_loop_now(const rl_loop *loop)
{
    return uv_now(&loop->uv) + rl_clock_ahead;
}

/* For tests: so much time passes at once, for everything that this thread measures by rl_loop_now()
 * and rl_clock_ns(). Timers that are due then run in the next turn, in the order of their times. */
void rl_loop_advance(rl_loop *loop, uint64_t ms);
/* ms until the first timer is due; UINT64_MAX: there is none. */
uint64_t rl_loop_next_timer(rl_loop *loop);

/* From any thread, also after rl_loop_fini() while the memory lasts. False: the loop is shutting
 * down and fn will not run. */
bool rl_loop_post(rl_loop *loop, rl_post *post);

#endif
