/* dial.c - opening connections.
 *
 * The modes that keep their connections open them blocking, some dozens of handshakes at a
 * time: the opening is not measured. In the connect mode it is all there is: every slot goes
 * round CONNECTING, UPGRADING, CLOSING, and takes turns with the addresses of the loopback
 * network, or ports left in TIME_WAIT would soon run out.
 */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum {
    HEAD_SIZE = 4096, /* an answer to the upgrade must fit */
    AT_ONCE = 64,     /* handshakes in flight while connections are opened */
    SOURCES = 64,     /* loopback addresses to connect from */
};

/* RFC 6455, section 1.3, asks for its key and gives this answer. */
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static void set_nonblocking(int fd)
{
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
        fail("fcntl: %s", strerror(errno));
}

static int new_socket(void)
{
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        fail("socket: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

/* Returns the length of the head, 0 while it is incomplete. */
static size_t check_head(const uint8_t *head, size_t n)
{
    const uint8_t *end = memmem(head, n, "\r\n\r\n", 4);

    if (!end)
        return 0;
    if (n < 12 || memcmp(head, "HTTP/1.1 101", 12) != 0 || !memmem(head, n, ACCEPT, strlen(ACCEPT)))
        fail("the upgrade was refused: %.*s", (int)strcspn((const char *)head, "\r"), head);
    return (size_t)(end + 4 - head);
}

static void open_begin(struct load *l, struct conn *c)
{
    struct timeval patience = {.tv_sec = 5};
    const struct target *to = l->apart && c == l->conns ? &l->from : &l->to;

    c->fd = new_socket();
    c->sent_at = allocate(l->cycle, sizeof(*c->sent_at));
    if (l->mode[0] == 's')
        c->asked = allocate(l->cycle, sizeof(*c->asked));
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(c->fd, (const struct sockaddr *)&to->addr, sizeof(to->addr)) < 0)
        fail("connect: %s", strerror(errno));
    if (!l->raw)
        send_small(c, (const uint8_t *)to->request, to->request_len);
}

static void open_end(struct load *l, struct conn *c)
{
    uint8_t head[HEAD_SIZE + 1] = {0};
    size_t len = 0, used = 0;

    /* The kernel connects what nobody has accepted yet, who would miss what is said to all. */
    if (l->raw && l->mode[0] == 'f' && recv(c->fd, head, 1, 0) != 1)
        fail("no greeting: %s", strerror(errno));
    while (!l->raw && used == 0) {
        ssize_t n = recv(c->fd, head + len, HEAD_SIZE - len, 0);

        if (n <= 0)
            fail("no answer to the upgrade: %s", n < 0 ? strerror(errno) : "end of stream");
        len += (size_t)n;
        used = check_head(head, len);
    }
    keep_tail(c, head + used, len - used);
    set_nonblocking(c->fd);
    watch(l, c, EPOLL_CTL_ADD, EPOLLIN);
}

void open_all(struct load *l)
{
    for (unsigned from = 0; from < l->connections; from += AT_ONCE) {
        unsigned to = from + AT_ONCE < l->connections ? from + AT_ONCE : l->connections;

        for (unsigned i = from; i < to; i++)
            open_begin(l, &l->conns[i]);
        for (unsigned i = from; i < to; i++)
            open_end(l, &l->conns[i]);
    }
}

void cycle_begin(struct load *l, struct conn *c)
{
    struct sockaddr_in from = {.sin_family = AF_INET};
    int one = 1;

    if (!c->tail)
        c->tail = allocate(1, HEAD_SIZE + 1);
    c->fd = new_socket();
    set_nonblocking(c->fd);
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + l->cycles++ % SOURCES);
    if (bind(c->fd, (struct sockaddr *)&from, sizeof(from)) < 0)
        fail("bind: %s", strerror(errno));
    c->phase = CONNECTING;
    c->tail_len = 0;
    c->begun = now_ns();
    if (connect(c->fd, (struct sockaddr *)&l->to.addr, sizeof(l->to.addr)) < 0 &&
        errno != EINPROGRESS)
        fail("connect: %s", strerror(errno));
    watch(l, c, EPOLL_CTL_ADD, EPOLLOUT);
}

void cycle_event(struct load *l, struct conn *c)
{
    static const uint8_t normal[] = {1000 >> 8, 1000 & 0xff};
    uint8_t frame[16];
    ssize_t n;

    if (c->phase == CONNECTING) {
        send_small(c, (const uint8_t *)l->to.request, l->to.request_len);
        watch(l, c, EPOLL_CTL_MOD, EPOLLIN);
        c->phase = UPGRADING;
        return;
    }
    n = recv(c->fd, c->tail + c->tail_len, HEAD_SIZE - c->tail_len, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (c->phase == UPGRADING) {
        if (n <= 0)
            fail("no answer to the upgrade: %s", n < 0 ? strerror(errno) : "end of stream");
        c->tail_len += (size_t)n;
        if (check_head(c->tail, c->tail_len) == 0)
            return;
        send_small(c, frame, frame_put(frame, OP_CLOSE, normal, sizeof(normal), 0x2545f491u));
        c->phase = CLOSING;
        c->tail_len = 0;
        return;
    }
    if (n > 0 && c->tail[0] != (0x80 | OP_CLOSE))
        fail("a close was answered with a frame that begins with 0x%02x", c->tail[0]);
    close(c->fd);
    count(l, now_ns() - c->begun);
    cycle_begin(l, c);
}
