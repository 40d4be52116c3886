/* pubsub.c PORT SECONDS: how long a message takes through a Redis, by itself.
 *
 * One connection has subscribed, another publishes 100 bytes; the next when the subscriber has the
 * one before, so this is a bare PUBLISH/SUBSCRIBE round trip. Two blocking sockets, and nobody who
 * would have to be woken but this process. Prints a line as load.c does.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 100, MOST = 1 << 20, PATIENCE = 10 };

#define HUNDRED                                          \
    "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee" \
    "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee"
#define SUBSCRIBE  "*2\r\n$9\r\nSUBSCRIBE\r\n$4\r\nroom\r\n"
#define SUBSCRIBED "*3\r\n$9\r\nsubscribe\r\n$4\r\nroom\r\n:1\r\n"
#define PUBLISH    "*3\r\n$7\r\nPUBLISH\r\n$4\r\nroom\r\n$100\r\n" HUNDRED "\r\n"
#define PUBLISHED  ":1\r\n"
#define MESSAGE    "*3\r\n$7\r\nmessage\r\n$4\r\nroom\r\n$100\r\n" HUNDRED "\r\n"

static void fail(const char *what)
{
    fprintf(stderr, "pubsub: %s: %s\n", what, errno ? strerror(errno) : "not what was expected");
    exit(1);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int dial(int port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        fail("connect");
    return fd;
}

static void say(int fd, const char *text)
{
    if (send(fd, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text))
        fail("send");
}

static void hear(int fd, const char *text)
{
    char bytes[512];
    size_t want = strlen(text), len = 0;

    while (len < want) {
        ssize_t n = recv(fd, bytes + len, want - len, 0);
        if (n <= 0)
            fail("recv");
        len += (size_t)n;
    }
    errno = 0;
    if (memcmp(bytes, text, want) != 0)
        fail(text);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static double took[MOST];
    double begin, end;
    int n = 0;

    if (argc != 3)
        return 2;
    alarm((unsigned)atof(argv[2]) + PATIENCE);
    int subscriber = dial(atoi(argv[1])), publisher = dial(atoi(argv[1]));
    say(subscriber, SUBSCRIBE);
    hear(subscriber, SUBSCRIBED);
    begin = now();
    end = begin + atof(argv[2]);
    for (double at = begin; at < end && n < MOST; at = now()) {
        say(publisher, PUBLISH);
        hear(subscriber, MESSAGE);
        took[n++] = (now() - at) * 1e6;
        hear(publisher, PUBLISHED);
    }
    end = now();
    qsort(took, (size_t)n, sizeof(*took), by_size);
    printf("pubsub messages=%d rate=%.1f p50_us=%.1f p99_us=%.1f\n", n, n / (end - begin),
           took[n / 2], took[n * 99 / 100]);
    return 0;
}
