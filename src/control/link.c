#include "control/link.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PATIENCE_S = 30 };

int rl_link_pair(int fds[2], rl_err *err)
{
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    int room = 4 * RL_LINK_MAX;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
        return rl_err_set(err, -errno, "no sockets: %s", strerror(errno));
    for (int i = 0; i < 2; i++) {
        setsockopt(fds[i], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
        setsockopt(fds[i], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)); /* as much as we may */
    }
    return 0;
}

int rl_link_send(int link, rl_link_kind kind, rl_str bytes, const int *fds, unsigned nfds)
{
    char name = (char)kind;
    struct iovec parts[] = {{&name, 1}, {(void *)(uintptr_t)bytes.p, bytes.n}};
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(RL_LINK_FDS * sizeof(int))];
    } control = {0};
    struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 2};

    RL_CHECK(nfds <= RL_LINK_FDS);
    if (nfds) {
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        struct cmsghdr *head = CMSG_FIRSTHDR(&msg);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(head), fds, nfds * sizeof(int));
    }
    while (sendmsg(link, &msg, MSG_NOSIGNAL) < 0) {
        struct pollfd room = {.fd = link, .events = POLLOUT};
        if (errno == ETOOMANYREFS) /* as many are on their way as may be: let some arrive */
            usleep(1000);
        else if (errno == EAGAIN && poll(&room, 1, PATIENCE_S * 1000) == 0)
            return -ETIMEDOUT;
        else if (errno != EAGAIN && errno != EINTR)
            return -errno;
    }
    return 0;
}

int rl_link_receive(int link, bool wait, char buffer[RL_LINK_MAX], rl_link_packet *out)
{
    struct iovec part = {buffer, RL_LINK_MAX};
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(RL_LINK_FDS * sizeof(int))];
    } control = {0};
    struct msghdr msg = {.msg_iov = &part,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof(control.room)};
    ssize_t n;

    do
        n = recvmsg(link, &msg, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN && !wait)
        return 0;
    if (n <= 0)
        return n < 0 ? -errno : -ECONNRESET;
    *out = (rl_link_packet){.kind = buffer[0], .bytes = {buffer + 1, (size_t)n - 1}};
    for (struct cmsghdr *head = CMSG_FIRSTHDR(&msg); head; head = CMSG_NXTHDR(&msg, head))
        if (head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS) {
            out->nfds = (unsigned)((head->cmsg_len - CMSG_LEN(0)) / sizeof(int));
            memcpy(out->fds, CMSG_DATA(head), out->nfds * sizeof(int));
        }
    return 1;
}
