/* passed.h - listening sockets that another program has opened and passed on.
 *
 * systemd says in LISTEN_FDS how many there are from descriptor 3 on, in LISTEN_FDNAMES what they
 * are called, and in LISTEN_PID for whom they are. */
#ifndef RL_IO_PASSED_H
#define RL_IO_PASSED_H

#include "base/err.h"

/* How many there are for this process; what has no name is called "unknown". */
unsigned rl_passed_count(void);
int rl_passed_fd(unsigned i,
                 const char *name); /* the i-th, or -1 if it is not called so; "": any */

/* Make sure that it is a socket that streams, and have it never block. 0 or a negative code. */
int rl_passed_adopt(int fd, rl_err *err) RL_MUST_USE;

#endif
