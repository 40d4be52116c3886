#include "io/passed.h"

#include "base/str.h"
#include "io/bind.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIRST_FD = 3, MOST = 1024 };

static uint64_t number_in(const char *name, uint64_t max)
{
    const char *text = getenv(name);
    uint64_t n;

    return text && rl_str_to_u64(rl_str_of(text), max, &n) ? n : 0;
}

unsigned rl_passed_count(void)
{
    if (number_in("LISTEN_PID", INT32_MAX) != (uint64_t)getpid())
        return 0;
    return (unsigned)number_in("LISTEN_FDS", MOST);
}

int rl_passed_fd(unsigned i, const char *name)
{
    const char *names = getenv("LISTEN_FDNAMES");
    rl_str rest = rl_str_of(names ? names : ""), own = RL_STR("unknown"), part;

    if (i >= rl_passed_count())
        return -1;
    for (unsigned at = 0; rl_str_cut(&rest, ':', &part); at++)
        if (at == i && part.n)
            own = part;
    return !*name || rl_str_eq(own, rl_str_of(name)) ? FIRST_FD + (int)i : -1;
}

int rl_passed_adopt(int fd, rl_err *err)
{
    struct sockaddr_storage addr = {0};
    socklen_t n = sizeof(int), len = sizeof(addr);
    int type = 0;

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
        return rl_err_set(err, -errno, "descriptor %d: %s", fd, strerror(errno));
    if (type != SOCK_STREAM)
        return rl_err_set(err, -EPROTOTYPE, "descriptor %d is a socket, but not a stream's", fd);
    struct sockaddr_storage peer;
    len = sizeof(peer);
    if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0)
        return rl_err_set(err, -EISCONN, "descriptor %d is one connection (Accept=no is wanted)",
                          fd);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (addr.ss_family != AF_UNIX)
        rl_socket_tune(fd);
    return 0;
}
