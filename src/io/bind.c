#include "io/bind.h"

#include "io/endpoint.h"
#include "io/passed.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    BACKLOG = 4096,
    TRIES = 32, /* to find a port that both families have free */
};

static int cannot(rl_err *err, int rc, const rl_endpoint *e)
{
    bool port = rc == -EADDRINUSE && e->kind != RL_ENDPOINT_UNIX;

    return rl_err_set(err, rc, "cannot listen on %s: %s%s", e->text, strerror(-rc),
                      port ? ", by another process (port 0 picks a free one)" : "");
}

/* Sockets */

/* Accepted connections inherit both. Unbidden the kernel takes up to tcp_wmem, 4 MiB, for a peer that
 * reads nothing, and six hundred of those would take the memory that all of the machine's TCP has. */
void rl_socket_tune(int fd)
{
    const int one = 1, unsent = RL_KERNEL_UNSENT;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
}

static int new_socket(sa_family_t family)
{
    int one = 1;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd >= 0 && family != AF_UNIX) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        rl_socket_tune(fd);
    }
    return fd;
}

/* An IPv6 one, and v4_too: takes what comes by IPv4 as well. Its fd, or -errno. */
static int bind_ip(const rl_address *a, unsigned scope, bool v4_too)
{
    struct sockaddr_storage addr = {0};
    struct sockaddr_in *in = (struct sockaddr_in *)&addr;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&addr;
    bool v6 = a->family == RL_ADDRESS_IPV6;
    int v6only = !v4_too;

    int fd = new_socket(v6 ? AF_INET6 : AF_INET);
    if (fd < 0)
        return -errno;
    if (v6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only));
        *in6 = (struct sockaddr_in6){
            .sin6_family = AF_INET6, .sin6_port = htons(a->port), .sin6_scope_id = scope};
        memcpy(&in6->sin6_addr, a->bytes, 16);
    } else {
        *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(a->port)};
        memcpy(&in->sin_addr, a->bytes, 4);
    }
    if (bind(fd, (struct sockaddr *)&addr, v6 ? sizeof(*in6) : sizeof(*in)) < 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

static rl_address bound_address(int fd)
{
    struct sockaddr_storage addr = {0};
    socklen_t n = sizeof(addr);

    getsockname(fd, (struct sockaddr *)&addr, &n);
    return rl_address_of_sockaddr(&addr);
}

static int keep(rl_bindings *bs, const rl_endpoint *e, int fd, rl_err *err)
{
    if (fd < 0)
        return cannot(err, fd, e);
    if (bs->n == RL_MAX_SOCKETS) {
        close(fd);
        return rl_err_set(err, -EMFILE, "more than %d sockets to listen on", RL_MAX_SOCKETS);
    }
    bs->list[bs->n++] = (rl_binding){
        .bound = {.fd = fd, .tls = e->tls, .proxied = e->proxied},
        .address = rl_strdup(e->text),
    };
    return 0;
}

static bool no_ipv6(int rc)
{
    return rc == -EAFNOSUPPORT || rc == -EADDRNOTAVAIL;
}

static int bind_any(rl_bindings *bs, const rl_endpoint *e, rl_err *err)
{
    rl_address any = {.family = RL_ADDRESS_IPV6, .port = e->address.port};
    int fd = bind_ip(&any, 0, !e->v6only);

    if (no_ipv6(fd) && !e->v6only && e->address.family != RL_ADDRESS_IPV6) {
        any.family = RL_ADDRESS_IPV4;
        fd = bind_ip(&any, 0, false);
    }
    return keep(bs, e, fd, err);
}

static const rl_address loopback_v4 = {.family = RL_ADDRESS_IPV4, .bytes = {127, 0, 0, 1}};
static const rl_address loopback_v6 = {.family = RL_ADDRESS_IPV6, .bytes = {[15] = 1}};

/* Both families on one port; when we pick it, one that is free in both. */
static int bind_localhost(rl_bindings *bs, const rl_endpoint *e, rl_err *err)
{
    rl_address v4 = loopback_v4, v6 = loopback_v6;
    int one = -1, other = -1;

    for (int i = 0; i < TRIES; i++) {
        v4.port = e->address.port;
        one = bind_ip(&v4, 0, false);
        if (one < 0)
            break;
        v6.port = bound_address(one).port;
        other = bind_ip(&v6, 0, false);
        if (other >= 0 || e->address.port || other != -EADDRINUSE)
            break;
        close(one);
    }
    if (one >= 0 && other < 0 && !no_ipv6(other)) {
        close(one);
        return cannot(err, other, e);
    }
    int rc = keep(bs, e, one, err);
    return rc == 0 && other >= 0 ? keep(bs, e, other, err) : rc;
}

/* Is a file that nobody answers behind in the way? Only sockets are ever replaced. */
static bool is_stale(const struct sockaddr_un *addr, socklen_t n)
{
    struct stat st;

    if (lstat(addr->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return false;
    /* Without waiting: a full queue is life. */
    int fd = new_socket(AF_UNIX);
    if (fd < 0)
        return false;
    bool stale = connect(fd, (const struct sockaddr *)addr, n) < 0 && errno == ECONNREFUSED;
    close(fd);
    return stale;
}

/* Nobody can connect yet, so nobody slips in before the mode is right. */
static int dress_file(const rl_endpoint *e)
{
    if (e->user != RL_ENDPOINT_UNSET || e->group != RL_ENDPOINT_UNSET)
        if (lchown(e->name, e->user, e->group) < 0)
            return -errno;
    if (e->mode != RL_ENDPOINT_UNSET && chmod(e->name, e->mode) < 0)
        return -errno;
    return 0;
}

static int bind_unix(rl_bindings *bs, const rl_endpoint *e, rl_err *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    bool abstract = e->name[0] == '@';
    socklen_t n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(e->name));
    struct stat st;

    memcpy(addr.sun_path, e->name, strlen(e->name));
    if (abstract)
        addr.sun_path[0] = '\0';
    else if (is_stale(&addr, n))
        unlink(e->name);

    int fd = new_socket(AF_UNIX);
    if (fd < 0)
        return cannot(err, -errno, e);
    if (bind(fd, (struct sockaddr *)&addr, n) < 0) {
        int rc = -errno;
        close(fd);
        return cannot(err, rc, e);
    }
    if (abstract)
        return keep(bs, e, fd, err);
    int rc = dress_file(e);
    if (rc == 0 && lstat(e->name, &st) < 0)
        rc = -errno;
    if (rc < 0) {
        unlink(e->name);
        close(fd);
        return cannot(err, rc, e);
    }
    rc = keep(bs, e, fd, err);
    if (rc < 0) {
        unlink(e->name);
        return rc;
    }
    rl_binding *b = &bs->list[bs->n - 1];
    b->path = rl_strdup(e->name);
    b->dev = st.st_dev;
    b->ino = st.st_ino;
    return 0;
}

static int take_passed(rl_bindings *bs, const rl_endpoint *e, int fd, rl_err *err)
{
    rl_err why;

    for (unsigned i = 0; i < bs->n; i++)
        if (bs->list[i].bound.fd == fd)
            return rl_err_set(err, -EINVAL, "cannot listen on %s: descriptor %d is taken by %s",
                              e->text, fd, bs->list[i].address);
    int rc = rl_passed_adopt(fd, &why);
    if (rc < 0)
        return rl_err_set(err, rc, "cannot listen on %s: %s", e->text, why.msg);
    return keep(bs, e, fd, err);
}

static int take_systemd(rl_bindings *bs, const rl_endpoint *e, rl_err *err)
{
    unsigned found = 0;

    for (unsigned i = 0; i < rl_passed_count(); i++) {
        int fd = rl_passed_fd(i, e->name), rc = 0;
        if (fd >= 0)
            rc = take_passed(bs, e, fd, err);
        if (rc < 0)
            return rc;
        found += fd >= 0;
    }
    if (found)
        return 0;
    return rl_err_set(err, -ENOENT, "cannot listen on %s: %s", e->text,
                      rl_passed_count() ? "systemd passed no socket of this name (LISTEN_FDNAMES)"
                                        : "systemd passed no sockets (LISTEN_FDS)");
}

/* Addresses */

static int bind_endpoint(rl_bindings *bs, const rl_endpoint *e, rl_err *err)
{
    switch (e->kind) {
    case RL_ENDPOINT_IP:
        return keep(bs, e, bind_ip(&e->address, e->scope, false), err);
    case RL_ENDPOINT_ANY:
        return bind_any(bs, e, err);
    case RL_ENDPOINT_LOCALHOST:
        return bind_localhost(bs, e, err);
    case RL_ENDPOINT_UNIX:
        return bind_unix(bs, e, err);
    case RL_ENDPOINT_FD:
        return take_passed(bs, e, e->fd, err);
    case RL_ENDPOINT_SYSTEMD:
        return take_systemd(bs, e, err);
    }
    return 0;
}

/* "0.0.0.0:80" and "[::]:80" side by side are what people write for "everything": each takes its
 * own family then. */
static void divide_families(rl_endpoint *es, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            bool v4 = es[j].kind == RL_ENDPOINT_IP && es[j].address.family == RL_ADDRESS_IPV4;
            if (es[i].kind == RL_ENDPOINT_ANY && es[i].address.family == RL_ADDRESS_IPV6 && v4 &&
                es[i].address.port && es[i].address.port == es[j].address.port)
                es[i].v6only = true;
        }
}

int rl_bind_all(rl_bindings *out, const char *const *addresses, size_t n, rl_err *err)
{
    rl_endpoint *es = rl_calloc(n, sizeof(*es));
    int rc = 0;

    *out = (rl_bindings){0};
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = rl_endpoint_parse(&es[i], addresses[i], err);
    if (rc == 0)
        divide_families(es, n);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = bind_endpoint(out, &es[i], err);
    rl_free(es);
    if (rc < 0) {
        rl_bindings_unlink(out);
        rl_bindings_fini(out, true);
    }
    return rc;
}

/* Listening, alone and beside others */

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
    int alike = 0, v6only = 0;
    socklen_t n = sizeof(addr), nalike = sizeof(alike), nv6only = sizeof(v6only);

    getsockname(fd, (struct sockaddr *)&addr, &n);
    getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &alike, &nalike);
    if (!alike || addr.ss_family == AF_UNIX)
        return -1;
    int sibling = new_socket(addr.ss_family);
    if (sibling >= 0 && addr.ss_family == AF_INET6 &&
        getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, &nv6only) == 0)
        setsockopt(sibling, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only));
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
    struct sockaddr_storage addr = {0};
    const struct sockaddr_un *un = (const struct sockaddr_un *)&addr;
    socklen_t n = sizeof(addr);
    char host[INET6_ADDRSTRLEN];
    const char *scheme = b->tls ? "https" : "http";

    getsockname(b->fd, (struct sockaddr *)&addr, &n);
    if (addr.ss_family == AF_UNIX) {
        int len = (int)n - (int)offsetof(struct sockaddr_un, sun_path);
        bool abstract = len > 0 && un->sun_path[0] == '\0';
        return rl_sprintf("%sunix:%s%.*s", b->tls ? "tls:" : "", abstract ? "@" : "",
                          len > abstract ? len - abstract : 0, un->sun_path + abstract);
    }
    rl_address a = rl_address_of_sockaddr(&addr);
    rl_address_text(&a, host);
    if (a.family == RL_ADDRESS_IPV6)
        return rl_sprintf("%s://[%s]:%u", scheme, host, a.port);
    return rl_sprintf("%s://%s:%u", scheme, host, a.port);
}

void rl_bindings_unlink(rl_bindings *bs)
{
    struct stat st;

    for (unsigned i = 0; i < bs->n; i++) {
        rl_binding *b = &bs->list[i];
        if (b->path && lstat(b->path, &st) == 0 && st.st_dev == b->dev && st.st_ino == b->ino)
            unlink(b->path);
        rl_free(b->path);
        b->path = NULL;
    }
}

void rl_bindings_fini(rl_bindings *bs, bool close_sockets)
{
    for (unsigned i = 0; i < bs->n; i++) {
        if (close_sockets)
            close(bs->list[i].bound.fd);
        rl_free(bs->list[i].address);
        rl_free(bs->list[i].path);
    }
    bs->n = 0;
}

bool rl_systemd_has_sockets(void)
{
    return rl_passed_count() > 0;
}
