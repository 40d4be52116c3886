#include "io/batch.h"

#include "base/log.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { FLAGS = MSG_NOSIGNAL | MSG_DONTWAIT };

struct job {
    void *owner;
    char *p;
    size_t n;
    int fd;
    int result;
};

struct rl_batch {
    rl_batch_fn *fn;
    rl_batch_kind kind;
    enum { UNKNOWN, THERE, MISSING } uring;
    struct io_uring ring;
    bool running;
    unsigned len;
    struct job jobs[RL_BATCH_MAX];
};

rl_batch *rl_batch_new(rl_batch_kind kind, rl_batch_fn *fn)
{
    rl_batch *b = rl_calloc(1, sizeof(*b));

    b->kind = kind;
    b->fn = fn;
    return b;
}

void rl_batch_free(rl_batch *b)
{
    RL_CHECK(b->len == 0);
    if (b->uring == THERE)
        io_uring_queue_exit(&b->ring);
    rl_free(b);
}

/* The ring belongs to the thread that uses it first: it is not made with the batch. */
static bool has_uring(rl_batch *b)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER,
    };

    if (b->uring == UNKNOWN) {
        const char *wish = getenv("RILLE_IO_URING");
        bool forbidden = wish && strcmp(wish, "0") == 0;
        int rc = forbidden ? -EPERM : io_uring_queue_init_params(RL_BATCH_MAX, &b->ring, &params);
        b->uring = rc == 0 ? THERE : MISSING;
        if (rc == 0)
            io_uring_register_ring_fd(&b->ring); /* a little faster; no matter if not */
        else
            rl_debug("no io_uring (%s): sockets are served one by one", strerror(-rc));
    }
    return b->uring == THERE;
}

static void run_one_by_one(rl_batch *b)
{
    for (unsigned i = 0; i < b->len; i++) {
        struct job *job = &b->jobs[i];
        ssize_t n = b->kind == RL_BATCH_SEND ? send(job->fd, job->p, job->n, FLAGS)
                                             : recv(job->fd, job->p, job->n, FLAGS);
        job->result = n < 0 ? -errno : (int)n;
    }
}

/* All are done when the call is back, since none of them may wait. */
static void run_at_once(rl_batch *b)
{
    struct io_uring_cqe *cqe;
    unsigned head, done = 0;

    for (unsigned i = 0; i < b->len; i++) {
        struct job *job = &b->jobs[i];
        struct io_uring_sqe *sqe = io_uring_get_sqe(&b->ring);
        RL_CHECK(sqe);
        if (b->kind == RL_BATCH_SEND)
            io_uring_prep_send(sqe, job->fd, job->p, job->n, FLAGS);
        else
            io_uring_prep_recv(sqe, job->fd, job->p, job->n, FLAGS);
        sqe->user_data = i;
    }
    while (done < b->len) {
        int rc = io_uring_submit_and_wait(&b->ring, b->len - done);
        RL_CHECK(rc >= 0 || rc == -EINTR || rc == -EAGAIN || rc == -EBUSY);
        unsigned seen = 0;
        io_uring_for_each_cqe(&b->ring, head, cqe)
        {
            b->jobs[cqe->user_data].result = cqe->res;
            seen++;
        }
        io_uring_cq_advance(&b->ring, seen);
        done += seen;
    }
}

void rl_batch_run(rl_batch *b)
{
    if (b->len > 1 && has_uring(b))
        run_at_once(b);
    else
        run_one_by_one(b);

    b->running = true;
    for (unsigned i = 0; i < b->len; i++)
        b->fn(b->jobs[i].owner, b->jobs[i].p, b->jobs[i].result);
    b->running = false;
    b->len = 0;
}

unsigned rl_batch_len(const rl_batch *b)
{
    return b->len;
}

void rl_batch_add(rl_batch *b, int fd, char *p, size_t n, void *owner)
{
    RL_CHECK(b->len < RL_BATCH_MAX && !b->running);
    b->jobs[b->len++] = (struct job){owner, p, n, fd, 0};
}
