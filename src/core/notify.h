/* notify.h - a background consumer that hears a channel of a database: events "notify", and
 * "notify.gap" when something may have been missed, on the way or by its full mailbox. */
#ifndef RL_CORE_NOTIFY_H
#define RL_CORE_NOTIFY_H

#include "core/background.h"

int rl_notify_open(rl_consumer *c, rl_db *db, rl_str channel, rl_err *err) RL_MUST_USE;

#endif
