#include "net/proxied.h"

#include "base/log.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static const uint64_t COMPLAIN_EVERY_MS = 5000;

typedef struct rl_proxied {
    uv_poll_t poll;
    rl_server *server;
    rl_tls *keys;
    rl_list link; /* of server.awaited */
    rl_timeout deadline;
    rl_address proxy;
    rl_buf head; /* what was read, of a header that comes in pieces */
    int fd;
} rl_proxied;

enum refusal { DISTRUSTED, MALFORMED, LATE };

static void refuse(rl_server *s, const rl_address *proxy, enum refusal kind, const char *why)
{
    rl_counters *n = &s->loop->counters;
    uint64_t *const counts[] = {&n->proxies_distrusted, &n->proxy_headers_bad,
                                &n->proxy_header_timeouts};
    uint64_t now = rl_loop_now(s->loop), *last = &s->proxied_logged_at[kind];
    char host[RL_HOST_MAX];

    ++*counts[kind];
    if (*last && now - *last <= COMPLAIN_EVERY_MS)
        return;
    *last = now;
    rl_address_text(proxy, host);
    rl_warn("PROXY protocol: a connection of %s was refused: %s (so far: %llu)",
            *host ? host : "a Unix socket", why, (unsigned long long)*counts[kind]);
}

/* The places of all connections: one that waits has one, too. */
static void count(rl_server *s, int more)
{
    atomic_fetch_add(s->conns->tally.everywhere, (unsigned)more);
}

static void free_proxied(uv_handle_t *h)
{
    rl_free(RL_CONTAINER_OF(h, rl_proxied, poll));
}

/* The socket is somebody else's from here on. */
static void let_go(rl_proxied *p)
{
    rl_list_remove(&p->link);
    rl_timeout_stop(&p->deadline);
    rl_buf_fini(&p->head);
    uv_poll_stop(&p->poll);
    uv_close((uv_handle_t *)&p->poll, free_proxied);
}

static void drop(rl_proxied *p)
{
    let_go(p);
    close(p->fd);
    count(p->server, -1);
}

static void admit(rl_proxied *p, const rl_proxy *who)
{
    let_go(p);
    rl_server_admit(p->server, p->fd, p->keys, who->local ? NULL : who);
    count(p->server, -1); /* it counts by itself now, or was refused */
}

/* Looked at before it is taken, since nothing behind the header may be. Without its end all of what
 * came is the header's: it is taken, or the poll would tell of it again. */
static void on_readable(uv_poll_t *poll, int status, int events)
{
    rl_proxied *p = RL_CONTAINER_OF(poll, rl_proxied, poll);
    char *head = p->server->loop->recv;
    size_t kept = p->head.len;
    rl_proxy who;
    rl_err err;

    if (kept)
        memcpy(head, p->head.data, kept);
    ssize_t n = status < 0 ? 0 : recv(p->fd, head + kept, RL_PROXY_MAX - kept, MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        drop(p);
        return;
    }
    int length = rl_proxy_parse(&who, (rl_str){head, kept + (size_t)n}, &err);
    if (length < 0) {
        refuse(p->server, &p->proxy, MALFORMED, err.msg);
        drop(p);
        return;
    }
    size_t ours = length ? (size_t)length - kept : (size_t)n;
    if (recv(p->fd, head + kept, ours, 0) != (ssize_t)ours)
        drop(p);
    else if (length)
        admit(p, &who);
    else
        rl_buf_add(&p->head, head + kept, ours);
}

static void on_due(rl_timeout *t)
{
    rl_proxied *p = RL_CONTAINER_OF(t, rl_proxied, deadline);

    refuse(p->server, &p->proxy, LATE, "no header within request_timeout");
    drop(p);
}

static rl_address peer_of(int fd)
{
    struct sockaddr_storage addr = {0};
    socklen_t n = sizeof(addr);

    getpeername(fd, (struct sockaddr *)&addr, &n);
    return rl_address_of_sockaddr(&addr);
}

void rl_proxied_await(rl_server *s, int fd, rl_tls *keys)
{
    rl_address proxy = peer_of(fd);

    if (!rl_networks_has(&s->trusted, &proxy)) {
        close(fd);
        refuse(s, &proxy, DISTRUSTED, "it is not one of trusted_proxies");
        return;
    }
    rl_proxied *p = rl_calloc(1, sizeof(*p));
    if (uv_poll_init(&s->loop->uv, &p->poll, fd) < 0) {
        s->loop->counters.refused_descriptors++;
        close(fd);
        rl_free(p);
        return;
    }
    p->server = s;
    p->keys = keys;
    p->proxy = proxy;
    p->fd = fd;
    count(s, 1);
    rl_list_init(&p->link);
    rl_list_push(&s->awaited, &p->link);
    rl_timeout_init(&p->deadline);
    rl_timeout_start(rl_server_deadlines(s, s->limits.request_timeout, on_due), &p->deadline);
    uv_poll_start(&p->poll, UV_READABLE, on_readable);
}

void rl_proxied_drop_all(rl_server *s)
{
    rl_list *first;

    while ((first = rl_list_first(&s->awaited)))
        drop(RL_LIST_ENTRY(first, rl_proxied, link));
}
