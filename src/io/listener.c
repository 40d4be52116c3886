#include "io/listener.h"

#include "base/log.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    BACKLOG = 4096,
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

static int new_socket(sa_family_t family)
{
    int one = 1;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd >= 0 && family != AF_UNIX) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* inherited on accept */
    }
    return fd;
}

static int bind_socket(const char *address, const struct sockaddr *addr, socklen_t n, rl_err *err)
{
    int fd = new_socket(addr->sa_family);

    if (fd < 0)
        return rl_err_set(err, -errno, "cannot listen on %s: %s", address, strerror(errno));
    if (bind(fd, addr, n) < 0) {
        int rc = -errno;
        close(fd);
        return rl_err_set(err, rc, "cannot listen on %s: %s", address, strerror(-rc));
    }
    return fd;
}

/* Is anybody accepting there? A file that nobody answers behind is a leftover. */
static bool is_stale(const struct sockaddr_un *addr)
{
    /* Without waiting: a full queue is life. */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return false;
    bool stale =
        connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 && errno == ECONNREFUSED;
    close(fd);
    return stale;
}

static int bind_unix(const char *address, const char *path, rl_err *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    if (!*path || strlen(path) >= sizeof(addr.sun_path))
        return rl_err_set(err, -EINVAL, "bad address '%s': a socket's path has 1 to %zu bytes",
                          address, sizeof(addr.sun_path) - 1);
    strcpy(addr.sun_path, path);
    if (is_stale(&addr))
        unlink(path);
    return bind_socket(address, (struct sockaddr *)&addr, sizeof(addr), err);
}

static int adopt_fd(const char *address, const char *number, rl_err *err)
{
    uint64_t fd;
    int accepting = 0;
    socklen_t n = sizeof(accepting);

    if (!rl_str_to_u64(rl_str_of(number), 1 << 20, &fd))
        return rl_err_set(err, -EINVAL, "bad address '%s': want fd:NUMBER", address);
    if (getsockopt((int)fd, SOL_SOCKET, SO_ACCEPTCONN, &accepting, &n) < 0)
        return rl_err_set(err, -errno, "cannot listen on %s: %s", address, strerror(errno));
    fcntl((int)fd, F_SETFL, fcntl((int)fd, F_GETFL) | O_NONBLOCK);
    fcntl((int)fd, F_SETFD, FD_CLOEXEC);
    return (int)fd;
}

static int bind_inet(const char *address, const char *where, rl_err *err)
{
    const char *colon = strrchr(where, ':');
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    uint64_t port;
    char host[256];

    if (!colon || !rl_str_to_u64(rl_str_of(colon + 1), 65535, &port))
        return rl_err_set(err, -EINVAL,
                          "bad address '%s': want HOST:PORT, [IPV6]:PORT, unix:PATH or fd:NUMBER, "
                          "perhaps with tls: in front",
                          address);
    size_t n = (size_t)(colon - where);
    if (n >= 2 && where[0] == '[' && where[n - 1] == ']') {
        snprintf(host, sizeof(host), "%.*s", (int)(n - 2), where + 1);
        in6.sin6_port = htons((uint16_t)port);
        if (inet_pton(AF_INET6, host, &in6.sin6_addr) != 1)
            return rl_err_set(err, -EINVAL, "bad address '%s': no IPv6 address in the brackets",
                              address);
        return bind_socket(address, (struct sockaddr *)&in6, sizeof(in6), err);
    }
    snprintf(host, sizeof(host), "%.*s", (int)n, where);
    in.sin_port = htons((uint16_t)port);
    if (!*host || strcmp(host, "*") == 0)
        in.sin_addr.s_addr = htonl(INADDR_ANY);
    else if (strcmp(host, "localhost") == 0)
        in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else if (inet_pton(AF_INET, host, &in.sin_addr) != 1)
        return rl_err_set(err, -EINVAL,
                          "bad address '%s': '%s' is not an IP address (IPv6 goes in brackets)",
                          address, host);
    return bind_socket(address, (struct sockaddr *)&in, sizeof(in), err);
}

int rl_bind_address(const char *address, rl_bound *out, rl_err *err)
{
    const char *where = address;

    *out = (rl_bound){0};
    out->tls = strncmp(where, "tls:", 4) == 0;
    if (out->tls)
        where += 4;
    if (strncmp(where, "unix:", 5) == 0)
        out->fd = bind_unix(address, where + 5, err);
    else if (strncmp(where, "fd:", 3) == 0)
        out->fd = adopt_fd(address, where + 3, err);
    else
        out->fd = bind_inet(address, where, err);
    return out->fd < 0 ? out->fd : 0;
}

static int start_listening(const rl_bound *b, rl_err *err)
{
    if (listen(b->fd, BACKLOG) == 0)
        return 0;

    int rc = -errno;
    char *url = rl_bound_url(b);

    rl_err_set(err, rc, "cannot listen on %s: %s", url, strerror(-rc));
    rl_free(url);
    return rc;
}

static bool is_listening(int fd)
{
    int yes = 0;
    socklen_t n = sizeof(yes);

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &n) == 0 && yes;
}

/* Exclusive until it listens, so that a second server on the address is refused; only then may
 * there be siblings. A socket that listens already is somebody else's, and keeps its options. */
int rl_bound_listen(const rl_bound *b, rl_err *err)
{
    int one = 1;

    if (is_listening(b->fd))
        return 0;
    int rc = start_listening(b, err);
    if (rc == 0)
        setsockopt(b->fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)); /* not on a Unix socket */
    return rc;
}

/* Of its own, or -1: not a TCP socket that allows it. */
static int bind_beside(int fd)
{
    struct sockaddr_storage addr = {0};
    int alike = 0;
    socklen_t n = sizeof(addr), nalike = sizeof(alike);

    getsockname(fd, (struct sockaddr *)&addr, &n);
    getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &alike, &nalike);
    if (!alike || addr.ss_family == AF_UNIX)
        return -1;
    int sibling = new_socket(addr.ss_family);
    if (sibling < 0)
        return -1;
    if (setsockopt(sibling, SOL_SOCKET, SO_REUSEPORT, &alike, nalike) == 0 &&
        bind(sibling, (struct sockaddr *)&addr, n) == 0)
        return sibling;
    close(sibling);
    return -1;
}

int rl_bound_sibling(const rl_bound *b, rl_bound *out, rl_err *err)
{
    *out = *b;
    out->fd = bind_beside(b->fd);
    if (out->fd < 0)
        out->fd = fcntl(b->fd, F_DUPFD_CLOEXEC, 0);
    if (out->fd < 0)
        return rl_err_set(err, -errno, "cannot share a socket: %s", strerror(errno));
    return 0;
}

char *rl_bound_url(const rl_bound *b)
{
    const char *scheme = b->tls ? "https" : "http";
    struct sockaddr_storage addr = {0};
    socklen_t n = sizeof(addr);
    char host[INET6_ADDRSTRLEN] = "";

    getsockname(b->fd, (struct sockaddr *)&addr, &n);
    if (addr.ss_family == AF_UNIX)
        return rl_sprintf("%sunix:%s", b->tls ? "tls:" : "",
                          ((struct sockaddr_un *)&addr)->sun_path);
    if (addr.ss_family == AF_INET6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&addr;
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
        return rl_sprintf("%s://[%s]:%u", scheme, host, ntohs(in6->sin6_port));
    }
    struct sockaddr_in *in = (struct sockaddr_in *)&addr;
    inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
    return rl_sprintf("%s://%s:%u", scheme, host, ntohs(in->sin_port));
}

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
    int rc = start_listening(b, err);

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

static void on_closed(uv_handle_t *h)
{
    rl_listener *l = RL_CONTAINER_OF(h, rl_listener, poll);
    struct sockaddr_un addr = {0};
    socklen_t n = sizeof(addr);

    if (getsockname(l->bound.fd, (struct sockaddr *)&addr, &n) == 0 && addr.sun_family == AF_UNIX &&
        addr.sun_path[0])
        unlink(addr.sun_path);
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
