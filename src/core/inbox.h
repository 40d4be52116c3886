/* inbox.h - a channel that a task receives from, as a consumer does from its mailbox.
 *
 * It ends with the task that opened it. What waits in it is bounded as a mailbox is, by everybody's
 * `mailbox`, `mailbox_policy` (which can drop, there is nothing to close) and `mailbox_expiry`. One
 * with a name is the library's own, and has a bound of its own. */
#ifndef RL_CORE_INBOX_H
#define RL_CORE_INBOX_H

#include "core/worker.h"
#include "vm/waiters.h"

#define RL_INBOXES_MAX 100 /* of one task */

typedef struct rl_inbox rl_inbox;

/* NULL: it has too many. A name in the place of a number, of which there is one: for who is
 * to be found without being asked. */
rl_inbox *rl_inbox_open(rl_worker *w, rl_task *owner, const char *name);
rl_inbox *rl_inbox_find(rl_worker *w, rl_str name); /* NULL: there is none */
const char *rl_inbox_name(const rl_inbox *in);
void rl_inbox_end_all(rl_task *owner); /* before it ends, all of its own without a name */

rl_message *rl_inbox_take(rl_inbox *in);    /* one reference, yours; NULL: there is none */
rl_waiters *rl_inbox_waiters(rl_inbox *in); /* for a message: true; for its end: nil, Closed */

#endif
