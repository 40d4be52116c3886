#include "app/systemd.h"

#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static void send_to(const char *path, const char *text)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t n = strlen(path);

    if ((path[0] != '/' && path[0] != '@') || n < 2 || n >= sizeof(addr.sun_path)) {
        rl_warn("NOTIFY_SOCKET=%s is no socket's address", path);
        return;
    }
    memcpy(addr.sun_path, path, n);
    if (path[0] == '@')
        addr.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&addr,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0)
        rl_debug("NOTIFY_SOCKET=%s: %s", path, strerror(errno));
    close(fd);
}

void rl_systemd_notify(const char *fmt, ...)
{
    const char *path = getenv("NOTIFY_SOCKET");
    char text[256];
    va_list args;

    if (!path || !*path)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    send_to(path, text);
}

void rl_systemd_reloading(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    rl_systemd_notify("RELOADING=1\nSTATUS=reloading\nMONOTONIC_USEC=%llu",
                      (unsigned long long)now.tv_sec * 1000000 +
                          (unsigned long long)now.tv_nsec / 1000);
}

static uint64_t number_of(const char *name)
{
    const char *text = getenv(name);
    uint64_t n;

    return text && rl_str_to_u64(rl_str_of(text), INT64_MAX, &n) ? n : 0;
}

uint64_t rl_systemd_watchdog(void)
{
    const char *whose = getenv("WATCHDOG_PID");

    if (whose && number_of("WATCHDOG_PID") != (uint64_t)getpid())
        return 0;
    return number_of("WATCHDOG_USEC");
}
