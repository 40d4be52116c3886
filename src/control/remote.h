/* remote.h - `rille status`, `reload`, `rollback`, `promote`: one request on the control socket of
 * a running process. */
#ifndef RL_CONTROL_REMOTE_H
#define RL_CONTROL_REMOTE_H

#include "host/settings.h"
#include "proto/control.h"

/* Returns the exit status; what failed has been said on stderr. */
int rl_remote_run(const rl_settings *settings);

/* For attach.c: plain blocking calls. */
int rl_remote_send(int fd, rl_control_kind kind, rl_str payload); /* 0, or a negative code */
/* The next frame, in buf, from whose front the one before (of taken bytes, at first 0) is dropped.
 * 0, or a negative code: it has hung up, or -EINTR or -EAGAIN: not yet. */
int rl_remote_receive(int fd, rl_buf *buf, size_t *taken, rl_control_frame *f);

#endif
