/* dial.c - the addresses of a host are a list; tries at them run side by side, each a socket with a
 * poll handle; the timer begins the next one. The first handle is the timer's, and a lookup counts
 * as one: the memory goes with the last. */
#include "io/dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    MAX_ADDRESSES = 8,
    STAGGER = 250, /* ms: RFC 8305 section 5 */
    /* A peer that is gone without a word is noticed after a minute and a half. */
    KEEPALIVE_AFTER = 60,
    KEEPALIVE_EVERY = 10,
    KEEPALIVE_TIMES = 3,
};

typedef union any_address {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
    struct sockaddr_un local;
} any_address;

typedef struct attempt {
    uv_poll_t poll;
    rl_dial *dial;
    int fd; /* -1: not under way */
} attempt;

struct rl_dial {
    rl_loop *loop;
    rl_dialled_fn *fn; /* NULL: told, or cancelled */
    void *arg;
    char *name; /* the host, or the path */
    uint16_t port;
    any_address addresses[MAX_ADDRESSES];
    socklen_t sizes[MAX_ADDRESSES];
    unsigned naddresses, next, running;
    attempt tries[MAX_ADDRESSES]; /* as the addresses */
    uv_timer_t timer;
    uv_getaddrinfo_t lookup;
    bool looking;
    unsigned handles;
    rl_err last;
};

static void drop(rl_dial *d)
{
    if (--d->handles)
        return;
    rl_free(d->name);
    rl_free(d);
}

static void on_timer_closed(uv_handle_t *h)
{
    drop(RL_CONTAINER_OF(h, rl_dial, timer));
}

static void on_poll_closed(uv_handle_t *h)
{
    drop(RL_CONTAINER_OF(h, attempt, poll)->dial);
}

/* Give up a try; `keep` its socket. */
static void end_try(attempt *a, bool keep)
{
    if (a->fd < 0)
        return;
    uv_close((uv_handle_t *)&a->poll, on_poll_closed);
    if (!keep)
        close(a->fd);
    a->fd = -1;
    a->dial->running--;
}

static void end_all(rl_dial *d)
{
    for (unsigned i = 0; i < d->naddresses; i++)
        end_try(&d->tries[i], false);
    if (d->looking)
        uv_cancel((uv_req_t *)&d->lookup); /* or it ends by itself */
    uv_close((uv_handle_t *)&d->timer, on_timer_closed);
}

static void tell(rl_dial *d, int fd, const rl_err *err)
{
    rl_dialled_fn *fn = d->fn;
    void *arg = d->arg;

    d->fn = NULL;
    end_all(d);
    fn(arg, fd, err);
}

static void set_options(int fd, int family)
{
    static const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_AFTER},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_EVERY},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_TIMES},
    };

    for (size_t i = 0; family != AF_UNIX && i < RL_COUNT(options); i++)
        setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
}

static void note(rl_dial *d, int error)
{
    rl_err_set(&d->last, -error, "cannot connect: %s", strerror(error));
}

static void try_next(rl_dial *d);

static void on_writable(uv_poll_t *poll, int status, int events)
{
    attempt *a = RL_CONTAINER_OF(poll, attempt, poll);
    rl_dial *d = a->dial;
    int error = 0, fd = a->fd;
    socklen_t size = sizeof(error);

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (error) {
        end_try(a, false);
        note(d, error);
        try_next(d);
        return;
    }
    set_options(fd, d->addresses[a - d->tries].any.sa_family);
    end_try(a, true);
    tell(d, fd, NULL);
}

/* 0, or an errno. */
static int begin_try(rl_dial *d, unsigned i)
{
    attempt *a = &d->tries[i];
    const struct sockaddr *to = &d->addresses[i].any;
    int fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return errno;
    int rc = connect(fd, to, d->sizes[i]) < 0 && errno != EINPROGRESS ? errno : 0;
    if (rc == 0)
        rc = -uv_poll_init(&d->loop->uv, &a->poll, fd);
    if (rc) {
        close(fd);
        return rc;
    }
    a->fd = fd;
    d->handles++;
    d->running++;
    uv_poll_start(&a->poll, UV_WRITABLE, on_writable);
    return 0;
}

static void on_timer(uv_timer_t *timer)
{
    rl_dial *d = RL_CONTAINER_OF(timer, rl_dial, timer);

    if (!d->looking)
        try_next(d);
}

/* From the loop. Begin one more, and the one behind it a little later. */
static void try_next(rl_dial *d)
{
    while (d->next < d->naddresses) {
        int error = begin_try(d, d->next++);
        if (error == 0) {
            if (d->next < d->naddresses)
                uv_timer_start(&d->timer, on_timer, STAGGER, 0);
            return;
        }
        note(d, error);
    }
    if (d->running == 0)
        tell(d, -1, &d->last);
}

/* Addresses */

static void add_address(rl_dial *d, const struct sockaddr *a, socklen_t size)
{
    any_address *at = &d->addresses[d->naddresses];

    if (d->naddresses == MAX_ADDRESSES || size > sizeof(*at))
        return;
    memcpy(at, a, size);
    if (a->sa_family == AF_INET6)
        at->ipv6.sin6_port = htons(d->port);
    else if (a->sa_family == AF_INET)
        at->ipv4.sin_port = htons(d->port);
    d->sizes[d->naddresses++] = size;
}

static bool add_numeric(rl_dial *d)
{
    any_address a = {0};

    if (inet_pton(AF_INET, d->name, &a.ipv4.sin_addr) == 1) {
        a.any.sa_family = AF_INET;
        add_address(d, &a.any, sizeof(a.ipv4));
    } else if (inet_pton(AF_INET6, d->name, &a.ipv6.sin6_addr) == 1) {
        a.any.sa_family = AF_INET6;
        add_address(d, &a.any, sizeof(a.ipv6));
    }
    return d->naddresses > 0;
}

/* The families take turns, beginning with the one that the resolver prefers (RFC 8305, 4). */
static void add_found(rl_dial *d, const struct addrinfo *found)
{
    const struct addrinfo *at[2] = {found, found};
    int family[2] = {found->ai_family, found->ai_family == AF_INET6 ? AF_INET : AF_INET6};

    for (int turn = 0; at[0] || at[1]; turn = !turn) {
        const struct addrinfo *a = at[turn];
        while (a && a->ai_family != family[turn])
            a = a->ai_next;
        if (a)
            add_address(d, a->ai_addr, a->ai_addrlen);
        at[turn] = a ? a->ai_next : NULL;
    }
}

static void on_found(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    rl_dial *d = RL_CONTAINER_OF(req, rl_dial, lookup);

    d->looking = false;
    if (d->fn && status == 0 && found) {
        add_found(d, found);
        try_next(d);
    } else if (d->fn) {
        rl_err_set(&d->last, status, "cannot find the host: %s", uv_strerror(status));
        tell(d, -1, &d->last);
    }
    uv_freeaddrinfo(found);
    drop(d);
}

static void look_up(rl_dial *d)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    int rc = uv_getaddrinfo(&d->loop->uv, &d->lookup, on_found, d->name, NULL, &hints);

    if (rc < 0) {
        rl_err_set(&d->last, rc, "cannot find the host: %s", uv_strerror(rc));
        return;
    }
    d->looking = true;
    d->handles++;
}

static void add_path(rl_dial *d)
{
    any_address a = {.local.sun_family = AF_UNIX};
    size_t n = strlen(d->name);

    if (n >= sizeof(a.local.sun_path)) {
        rl_err_set(&d->last, -ENAMETOOLONG, "the path of a Unix socket is too long");
        return;
    }
    memcpy(a.local.sun_path, d->name, n);
    if (d->name[0] == '@')
        a.local.sun_path[0] = '\0';
    add_address(d, &a.any, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
}

rl_dial *rl_dial_start(rl_loop *loop, const rl_dial_opts *opts, rl_dialled_fn *fn, void *arg)
{
    rl_dial *d = rl_calloc(1, sizeof(*d));

    *d = (rl_dial){.loop = loop, .fn = fn, .arg = arg, .port = opts->port, .handles = 1};
    d->name = rl_strdup(opts->path ? opts->path : opts->host);
    for (unsigned i = 0; i < MAX_ADDRESSES; i++)
        d->tries[i] = (attempt){.dial = d, .fd = -1};
    if (opts->path)
        add_path(d);
    else if (!add_numeric(d))
        look_up(d);
    uv_timer_init(&loop->uv, &d->timer);
    uv_timer_start(&d->timer, on_timer, 0, 0); /* not from in here, whatever comes of it */
    return d;
}

void rl_dial_cancel(rl_dial *d)
{
    d->fn = NULL;
    end_all(d);
}
