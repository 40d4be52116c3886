/* poller.h - readiness of many sockets for the price of one libuv handle.
 *
 * An epoll instance of our own, watched by the loop as a single descriptor. A uv_poll_t for each
 * connection would cost 160 bytes and four system calls to set up; here it is an int and one.
 * Events are taken in batches; everything a batch makes happen is told before hooks run. */
#ifndef RL_IO_POLLER_H
#define RL_IO_POLLER_H

#include "io/loop.h"

enum {
    RL_POLL_READ = 1,  /* something to read, or the end of it */
    RL_POLL_WRITE = 2, /* room to write */
    RL_POLL_HUP = 4,   /* the peer shut down its side (asked for), or is gone (always told) */
};

typedef struct rl_poller rl_poller;

typedef void rl_poll_fn(void *owner, unsigned events);
typedef void rl_poll_end_fn(rl_poller *p); /* of a batch: everything was told */

struct rl_poller {
    uv_poll_t handle;
    rl_poll_fn *fn;
    rl_poll_end_fn *end;
    int fd;
};

/* 0 or -errno */
int rl_poller_open(rl_poller *p, rl_loop *loop, rl_poll_fn *fn, rl_poll_end_fn *end) RL_MUST_USE;
void rl_poller_close(rl_poller *p); /* the memory must last until the loop turned */

/* Watch fd for `events`; owner comes back with them. Closing fd ends it. An owner must outlive the
 * turn in which its descriptor is closed. */
int rl_poller_add(rl_poller *p, int fd, unsigned events, void *owner) RL_MUST_USE;
void rl_poller_change(rl_poller *p, int fd, unsigned events, void *owner);
void rl_poller_remove(rl_poller *p, int fd);

#endif
