/* thread.h - threads for what blocks: SQLite, and asking PostgreSQL for a cancel. */
#ifndef RL_DB_THREAD_H
#define RL_DB_THREAD_H

#include "base/base.h"

#include <pthread.h>

/* Start a thread that takes no signals. Joined through *thread, or detached if that is NULL.
 * 0, or an errno value. */
int rl_db_thread_start(pthread_t *thread, size_t stack_size, void *(*fn)(void *), void *arg);

#endif
