/* thread.h - threads for what blocks: SQLite, asking PostgreSQL for a cancel, handshakes. */
#ifndef RL_BASE_THREAD_H
#define RL_BASE_THREAD_H

#include "base/base.h"

#include <pthread.h>

/* Start a thread that takes no signals. Joined through *thread, or detached if that is NULL.
 * 0, or an errno value. */
int rl_thread_start(pthread_t *thread, size_t stack_size, void *(*fn)(void *), void *arg);

#endif
