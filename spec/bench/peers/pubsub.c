/* pubsub.c PORT SECONDS [apart]: how long a message takes through a Redis, by itself.
 *
 * One connection has subscribed, another publishes 100 bytes; the next when the subscriber has the
 * one before, so this is a bare PUBLISH/SUBSCRIBE round trip. Two blocking sockets, and nobody who
 * would have to be woken but this process. Prints a line as load.c does.
 *
 * apart: there are two processes, each of which publishes when it has heard the other: half of a
 * round is a message from one to the other, who has to be woken for it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 100, MOST = 1 << 20, PATIENCE = 10 };

#define HUNDRED                                          \
    "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee" \
    "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee"
#define SUBSCRIBE(room)  "*2\r\n$9\r\nSUBSCRIBE\r\n$4\r\n" room "\r\n"
#define SUBSCRIBED(room) "*3\r\n$9\r\nsubscribe\r\n$4\r\n" room "\r\n:1\r\n"
#define PUBLISH(room)    "*3\r\n$7\r\nPUBLISH\r\n$4\r\n" room "\r\n$100\r\n" HUNDRED "\r\n"
#define PUBLISHED        ":1\r\n"
#define MESSAGE(room)    "*3\r\n$7\r\nmessage\r\n$4\r\n" room "\r\n$100\r\n" HUNDRED "\r\n"

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

/* The other one, until it is ended: what is said in "room" it answers in "back". */
static void answer(int port)
{
    int subscriber = dial(port), publisher = dial(port);

    say(subscriber, SUBSCRIBE("room"));
    hear(subscriber, SUBSCRIBED("room"));
    for (;;) {
        hear(subscriber, MESSAGE("room"));
        say(publisher, PUBLISH("back"));
        hear(publisher, PUBLISHED);
    }
}

/* Begin the other one, and wait until it listens. */
static void part(int port, int publisher)
{
    char heard[4];

    if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        answer(port);
    }
    do {
        usleep(1000);
        say(publisher, PUBLISH("room"));
        if (recv(publisher, heard, sizeof(heard), MSG_WAITALL) != sizeof(heard))
            fail("recv");
    } while (memcmp(heard, PUBLISHED, sizeof(heard)) != 0);
}

int main(int argc, char **argv)
{
    static double took[MOST];
    double begin, end;
    int n = 0, halves = argc == 4 && strcmp(argv[3], "apart") == 0 ? 2 : 1;
    const char *message = halves == 2 ? MESSAGE("back") : MESSAGE("room");

    if (argc != 2 + halves)
        return 2;
    alarm((unsigned)atof(argv[2]) + PATIENCE);
    int port = atoi(argv[1]), subscriber = dial(port), publisher = dial(port);
    say(subscriber, halves == 2 ? SUBSCRIBE("back") : SUBSCRIBE("room"));
    hear(subscriber, halves == 2 ? SUBSCRIBED("back") : SUBSCRIBED("room"));
    if (halves == 2) {
        part(port, publisher);
        hear(subscriber, message);
    }
    begin = now();
    end = begin + atof(argv[2]);
    for (double at = begin; at < end && n < MOST; at = now()) {
        say(publisher, PUBLISH("room"));
        hear(subscriber, message);
        took[n++] = (now() - at) * 1e6 / halves;
        hear(publisher, PUBLISHED);
    }
    end = now();
    qsort(took, (size_t)n, sizeof(*took), by_size);
    printf("pubsub messages=%d rate=%.1f p50_us=%.1f p99_us=%.1f\n", n * halves,
           n * halves / (end - begin), took[n / 2], took[n * 99 / 100]);
    return 0;
}
