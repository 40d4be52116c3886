/* write_fan.c - the floor of a fan-out: two threads that write what one connection says to all.
 *
 * No protocol, no groups, no queues: a thread that hears something copies it for the other, wakes
 * it, and then each calls send() once for each of its connections. These have been greeted with a
 * byte each: who has it gets what is said from then on. A socket that does not take all of a
 * message at once ends the program, since nothing here keeps the rest.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { THREADS = 2, MOST = 20000, BACKLOG = 4096, EVENTS = 256, MESSAGE = 65536 };

struct thread {
    pthread_t id;
    int epoll, listener, bell;
    int fds[MOST];
    unsigned n;
    pthread_mutex_t lock; /* of what another has for this one */
    char said[MESSAGE];
    size_t len;
};

static struct thread threads[THREADS];

static void must(int rc, const char *what)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "write_fan: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void watch(struct thread *t, int fd)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

    must(epoll_ctl(t->epoll, EPOLL_CTL_ADD, fd, &ev), "epoll_ctl");
}

static void write_all(struct thread *t, const char *bytes, size_t len)
{
    for (unsigned i = 0; i < t->n; i++) {
        ssize_t n = send(t->fds[i], bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n >= 0 && (size_t)n < len) {
            fprintf(stderr, "write_fan: a socket is full\n");
            exit(1);
        }
    }
}

static void publish(struct thread *t, const char *bytes, size_t len)
{
    uint64_t one = 1;

    for (unsigned i = 0; i < THREADS; i++) {
        struct thread *other = &threads[i];

        if (other == t)
            continue;
        pthread_mutex_lock(&other->lock);
        memcpy(other->said, bytes, len);
        other->len = len;
        pthread_mutex_unlock(&other->lock);
        must((int)write(other->bell, &one, sizeof(one)), "eventfd");
    }
    write_all(t, bytes, len);
}

static void hear_other(struct thread *t)
{
    char bytes[MESSAGE];
    uint64_t rung;
    size_t len;

    must((int)read(t->bell, &rung, sizeof(rung)), "eventfd");
    pthread_mutex_lock(&t->lock);
    len = t->len;
    memcpy(bytes, t->said, len);
    pthread_mutex_unlock(&t->lock);
    write_all(t, bytes, len);
}

static void accept_one(struct thread *t)
{
    int one = 1, fd = accept4(t->listener, NULL, NULL, SOCK_CLOEXEC);

    must(fd, "accept");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (t->n == MOST)
        exit(1);
    t->fds[t->n++] = fd;
    watch(t, fd);
    must((int)send(fd, "+", 1, MSG_NOSIGNAL), "greeting"); /* from now on it gets what is said */
}

static void hear(struct thread *t, int fd)
{
    char bytes[MESSAGE];
    ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

    if (n > 0) {
        publish(t, bytes, (size_t)n);
        return;
    }
    for (unsigned i = 0; i < t->n; i++)
        if (t->fds[i] == fd)
            t->fds[i--] = t->fds[--t->n];
    close(fd);
}

static void *run(void *arg)
{
    struct thread *t = arg;
    struct epoll_event events[EVENTS];

    for (;;) {
        int n = epoll_wait(t->epoll, events, EVENTS, -1);

        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;

            if (fd == t->listener)
                accept_one(t);
            else if (fd == t->bell)
                hear_other(t);
            else
                hear(t, fd);
        }
    }
    return NULL;
}

static void open_thread(struct thread *t, struct sockaddr_in *addr)
{
    socklen_t len = sizeof(*addr);
    int one = 1;

    pthread_mutex_init(&t->lock, NULL);
    t->epoll = epoll_create1(EPOLL_CLOEXEC);
    t->bell = eventfd(0, EFD_CLOEXEC);
    t->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(t->listener, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
    must(bind(t->listener, (struct sockaddr *)addr, len), "bind");
    must(listen(t->listener, BACKLOG), "listen");
    must(getsockname(t->listener, (struct sockaddr *)addr, &len), "port");
    watch(t, t->listener);
    watch(t, t->bell);
}

int main(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct rlimit files;

    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    for (unsigned i = 0; i < THREADS; i++)
        open_thread(&threads[i], &addr);
    for (unsigned i = 1; i < THREADS; i++)
        must(-pthread_create(&threads[i].id, NULL, run, &threads[i]), "thread");
    fprintf(stderr, "write_fan: listening on http://127.0.0.1:%d\n", ntohs(addr.sin_port));
    run(&threads[0]);
    return 0;
}
