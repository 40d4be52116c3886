/* systemd.h - how we are, told to the service manager (sd_notify(3)), without its library.
 *
 * A datagram to the socket that NOTIFY_SOCKET names; without one nothing happens. Main thread. */
#ifndef RL_APP_SYSTEMD_H
#define RL_APP_SYSTEMD_H

#include "base/base.h"

/* Lines "NAME=value", with newlines between them. */
void rl_systemd_notify(const char *fmt, ...) RL_PRINTF(1, 2);

/* RELOADING=1, with the time that Type=notify-reload wants; READY=1 must follow. */
void rl_systemd_reloading(void);

/* Microseconds within which it wants to hear WATCHDOG=1 of this process; 0: it does not. */
uint64_t rl_systemd_watchdog(void);

#endif
