#include "base/thread.h"

#include <signal.h>

int rl_thread_start(pthread_t *thread, size_t stack_size, void *(*fn)(void *), void *arg)
{
    pthread_attr_t attr;
    pthread_t unnamed;
    sigset_t all, before;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, stack_size);
    if (!thread)
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* a new thread inherits it */
    int rc = pthread_create(thread ? thread : &unnamed, &attr, fn, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return rc;
}
