#include "io/listener.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ACCEPTS_PER_TURN = 64, /* so that a storm of connects does not starve the connected */
};

static const uint64_t COMPLAIN_EVERY_NS = 5000000000;

struct rl_listener {
    uv_poll_t poll;
    rl_accept_fn *fn;
    void *arg;
    rl_bound bound;
    int reserve; /* a descriptor to spend on refusing when there are no others */
    rl_counters *counters;
    uint64_t complained_at;
};

static int open_reserve(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Out of descriptors: spend the reserve on taking the caller off the queue and hanging up, so
 * that it learns at once and the poll does not spin. */
static void refuse_one(rl_listener *l)
{
    uint64_t now = uv_hrtime();

    if (l->reserve >= 0)
        close(l->reserve);
    int fd = accept4(l->bound.fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    l->reserve = open_reserve();
    l->counters->refused_descriptors++;
    if (now - l->complained_at > COMPLAIN_EVERY_NS) {
        l->complained_at = now;
        rl_warn("out of file descriptors: connections refused so far: %llu (raise ulimit -n)",
                (unsigned long long)l->counters->refused_descriptors);
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    rl_listener *l = RL_CONTAINER_OF(poll, rl_listener, poll);

    for (int i = 0; i < ACCEPTS_PER_TURN && !uv_is_closing((uv_handle_t *)poll); i++) {
        int fd = accept4(l->bound.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            l->fn(l->arg, fd, &l->bound);
        } else if (errno == EMFILE || errno == ENFILE) {
            refuse_one(l);
        } else if (errno != ECONNABORTED && errno != EINTR) {
            return; /* EAGAIN: nobody else is waiting */
        }
    }
}

int rl_listener_open(rl_listener **out, rl_loop *loop, const rl_bound *b, rl_accept_fn *fn,
                     void *arg, rl_err *err)
{
    int rc = rl_bound_listen(b, err);

    if (rc < 0) {
        close(b->fd);
        return rc;
    }

    rl_listener *l = rl_calloc(1, sizeof(*l));

    l->bound = *b;
    l->fn = fn;
    l->arg = arg;
    l->reserve = open_reserve();
    l->counters = &loop->counters;
    RL_CHECK(uv_poll_init(&loop->uv, &l->poll, b->fd) == 0);
    uv_poll_start(&l->poll, UV_READABLE, on_readable);
    *out = l;
    return 0;
}

void rl_listener_pause(rl_listener *l, bool yes)
{
    if (yes)
        uv_poll_stop(&l->poll);
    else
        uv_poll_start(&l->poll, UV_READABLE, on_readable);
}

static void on_closed(uv_handle_t *h)
{
    rl_listener *l = RL_CONTAINER_OF(h, rl_listener, poll);

    close(l->bound.fd);
    if (l->reserve >= 0)
        close(l->reserve);
    rl_free(l);
}

void rl_listener_close(rl_listener *l)
{
    if (!l)
        return;
    uv_poll_stop(&l->poll);
    uv_close((uv_handle_t *)&l->poll, on_closed);
}
