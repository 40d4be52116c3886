#include "control/inherit.h"

#include "host/runner.h"
#include "base/log.h"
#include "base/pack.h"
#include "core/moving.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void rl_inherit_init(rl_inherit *in)
{
    const char *number = getenv(RL_LINK_VARIABLE);
    uint64_t fd;

    *in = (rl_inherit){.link = -1};
    if (!number || !rl_str_to_u64(rl_str_of(number), 1 << 20, &fd))
        return;
    in->link = (int)fd;
    in->buffer = rl_malloc(RL_LINK_MAX);
    for (unsigned i = 0; i < RL_MAX_WORKERS; i++)
        rl_list_init(&in->arrived[i]);
    unsetenv(RL_LINK_VARIABLE);
}

/* Sockets */

static int ended(rl_err *err)
{
    return rl_err_set(err, -ECONNRESET, "the process that was to be replaced has gone");
}

/* Its file is ours to remove from now on. */
static void keep(rl_bindings *bs, const rl_bound *b, rl_str path)
{
    rl_binding *one = &bs->list[bs->n++];
    struct stat st;

    *one = (rl_binding){.bound = *b, .address = rl_strdup("inherited")};
    if (!path.n)
        return;
    char *name = rl_strndup(path.p, path.n);
    if (lstat(name, &st) == 0) {
        one->dev = st.st_dev;
        one->ino = st.st_ino;
        one->path = rl_strdup(name);
    }
    rl_free(name);
}

static bool take_listener(rl_inherit *in, const rl_link_packet *p, rl_bindings *public,
                          rl_bindings *admin, rl_bindings *control)
{
    rl_str bytes = p->bytes, path;
    uint32_t whose, flags;

    if (p->nfds != 1 || !rl_unpack_u32(&bytes, &whose) || !rl_unpack_u32(&bytes, &flags) ||
        !rl_unpack_bytes(&bytes, &path))
        return false;
    const rl_bound b = {
        .fd = p->fds[0], .tls = flags & RL_LINK_TLS, .proxied = flags & RL_LINK_PROXIED};
    rl_bindings *bs = whose == RL_LINK_ADMIN     ? admin
                      : whose == RL_LINK_CONTROL ? control
                      : whose == 0               ? public
                                                 : NULL;
    if (bs && bs->n == RL_MAX_SOCKETS)
        return false;
    if (bs)
        keep(bs, &b, path);
    if (whose < RL_MAX_WORKERS) {
        in->sockets = rl_realloc(in->sockets, (in->nsockets + 1) * sizeof(b));
        in->sockets[in->nsockets++] = b;
    }
    return true;
}

int rl_inherit_sockets(rl_inherit *in, rl_bindings *public, rl_bindings *admin,
                       rl_bindings *control, rl_err *err)
{
    rl_link_packet p = {0};
    uint32_t count;

    if (rl_link_send(in->link, RL_LINK_HELLO, RL_STR(""), NULL, 0) < 0)
        return ended(err);
    while (rl_link_receive(in->link, true, in->buffer, &p) > 0) {
        if (p.kind == RL_LINK_HAVE && rl_unpack_u32(&p.bytes, &count) && count &&
            count <= RL_MAX_WORKERS) {
            in->count = count;
            return 0;
        }
        if (p.kind != RL_LINK_LISTENER || !take_listener(in, &p, public, admin, control))
            break;
    }
    return ended(err);
}

/* Connections */

static void drop(rl_list *list)
{
    rl_list *it;

    while ((it = rl_list_pop(list)))
        rl_moving_free(RL_LIST_ENTRY(it, rl_moving, link));
}

struct arrivals {
    rl_post post;
    rl_runner *runner;
    rl_list list;
};

static void on_arrivals(rl_post *post)
{
    struct arrivals *a = RL_CONTAINER_OF(post, struct arrivals, post);
    rl_worker *w = rl_runner_worker(a->runner);
    rl_list *it;

    while ((it = rl_list_pop(&a->list))) {
        rl_moving *m = RL_LIST_ENTRY(it, rl_moving, link);
        if (w) {
            rl_worker_unpack(w, m->fd, rl_buf_str(&m->bytes));
            m->fd = -1;
        }
        rl_moving_free(m);
    }
    rl_free(a);
}

static void hand_out(rl_inherit *in)
{
    for (unsigned i = 0; i < in->count; i++) {
        struct arrivals *a = rl_calloc(1, sizeof(*a));
        a->runner = rl_workers_runner(in->workers, i);
        a->post.fn = on_arrivals;
        rl_list_init(&a->list);
        rl_list_take(&a->list, &in->arrived[i]);
        if (!rl_runner_post(a->runner, &a->post)) {
            drop(&a->list);
            rl_free(a);
        }
    }
}

static void take_connections(rl_inherit *in, const rl_link_packet *p)
{
    rl_str bytes = p->bytes, one;
    uint32_t worker = 0;
    bool good = rl_unpack_u32(&bytes, &worker) && worker < in->count;

    for (unsigned i = 0; i < p->nfds; i++) {
        if (!good || !rl_unpack_bytes(&bytes, &one)) {
            rl_error("a connection could not be taken over");
            close(p->fds[i]);
            continue;
        }
        rl_moving *m = rl_calloc(1, sizeof(*m));
        rl_list_init(&m->link);
        m->fd = p->fds[i];
        rl_buf_add_str(&m->bytes, one);
        rl_list_push(&in->arrived[worker], &m->link);
    }
}

static void on_poll_closed(uv_handle_t *h)
{
}

static void stop_polling(rl_inherit *in)
{
    if (!in->polling)
        return;
    in->polling = false;
    uv_poll_stop(&in->poll);
    uv_close((uv_handle_t *)&in->poll, on_poll_closed);
}

static void on_link(uv_poll_t *poll, int status, int events)
{
    rl_inherit *in = RL_CONTAINER_OF(poll, rl_inherit, poll);
    rl_link_packet p;
    int rc;

    while ((rc = rl_link_receive(in->link, false, in->buffer, &p)) != 0) {
        if (rc < 0) {
            stop_polling(in);
            in->gone(in->arg);
            return;
        }
        if (p.kind == RL_LINK_CONNECTIONS) {
            take_connections(in, &p);
        } else if (p.kind == RL_LINK_THAT_IS_ALL) {
            stop_polling(in);
            hand_out(in);
            in->ready(in->arg);
            return;
        }
    }
}

void rl_inherit_await(rl_inherit *in, rl_loop *main, rl_workers *workers, void (*ready)(void *arg),
                      void (*gone)(void *arg), void *arg)
{
    in->main = main;
    in->workers = workers;
    in->ready = ready;
    in->gone = gone;
    in->arg = arg;
    uv_poll_init(&main->uv, &in->poll, in->link);
    in->polling = true;
    uv_poll_start(&in->poll, UV_READABLE, on_link);
    if (rl_link_send(in->link, RL_LINK_READY, RL_STR(""), NULL, 0) < 0)
        rl_debug("the process that is to be replaced does not hear: its end follows");
}

/* Telling */

void rl_inherit_tell_failed(rl_inherit *in, const char *why)
{
    if (in->link >= 0 && rl_link_send(in->link, RL_LINK_FAILED, rl_str_of(why), NULL, 0) < 0)
        rl_debug("nobody hears why this process does not take over");
}

void rl_inherit_tell_serving(rl_inherit *in)
{
    if (in->link < 0)
        return;
    if (rl_link_send(in->link, RL_LINK_SERVING, RL_STR(""), NULL, 0) < 0)
        rl_warn("the process that is replaced has gone early");
    close(in->link);
    in->link = -1;
}

void rl_inherit_close(rl_inherit *in)
{
    stop_polling(in);
    for (unsigned i = 0; in->buffer && i < RL_MAX_WORKERS; i++)
        drop(&in->arrived[i]);
    if (in->link >= 0)
        close(in->link);
    in->link = -1;
    rl_free(in->sockets);
    rl_free(in->buffer);
    in->sockets = NULL;
    in->buffer = NULL;
}
