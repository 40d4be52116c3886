#include "control/shell.h"

#include "control/attach.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NUDGE_US = 10000 };

void rl_shell_prepare(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void on_left(rl_post *post)
{
    rl_shell *s = RL_CONTAINER_OF(post, rl_shell, post);

    if (!s->closing)
        s->left(s->arg, s->status);
}

static void talk(void *arg)
{
    rl_shell *s = arg;

    s->status = rl_attach_talk(s->fd, NULL);
    atomic_store(&s->ended, true);
    s->post.fn = on_left;
    rl_loop_post(s->main, &s->post);
}

int rl_shell_open(rl_shell *s, rl_loop *main, rl_control *control,
                  void (*left)(void *arg, int status), void *arg, rl_err *err)
{
    int fds[2];

    *s = (rl_shell){.main = main, .left = left, .arg = arg};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return rl_err_set(err, -errno, "no sockets for the prompt: %s", strerror(errno));
    s->fd = fds[0];
    int rc = uv_thread_create(&s->thread, talk, s);
    if (rc < 0) {
        close(fds[0]);
        close(fds[1]);
        return rl_err_set(err, rc, "no thread for the prompt: %s", uv_strerror(rc));
    }
    s->open = true;
    rl_control_adopt(control, fds[1]);
    return 0;
}

void rl_shell_close(rl_shell *s)
{
    if (!s->open)
        return;
    s->closing = true;
    while (!atomic_load(&s->ended)) { /* it may be about to read, where nobody has hung up */
        pthread_kill(s->thread, SIGINT);
        usleep(NUDGE_US);
    }
    uv_thread_join(&s->thread);
    close(s->fd);
    s->open = false;
}
