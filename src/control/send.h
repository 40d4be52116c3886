/* send.h - `rille send`, as a client of a running server's admin address. */
#ifndef RL_CONTROL_SEND_H
#define RL_CONTROL_SEND_H

#include "host/settings.h"

/* To the exit status; what was answered, or went wrong, has been said by then. */
int rl_send_run(const rl_settings *settings);

#endif
