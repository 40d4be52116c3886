/* load.c - a load generator that costs less than the servers it measures.
 *
 *   load MODE [options] HOST:PORT/PATH
 *
 *   echo     -c connections, each with -p messages of -s bytes outstanding, for -t seconds
 *   walk     each message is a number; the server answers with lines up to "."
 *   connect  connect, upgrade, close, over and over, at most -c at a time
 *   idle     open -c connections, say so, hold them until standard input has something
 *
 * It prints one line of key=value pairs. Anything but the right answer ends it with a
 * sentence and status 1: a figure from a server that answers wrongly is worth nothing.
 *
 * One thread, one epoll, one recv and one send per readable socket, however many messages the
 * recv brought. All frames are masked beforehand: `ring` holds a power of two of them, twice in
 * a row, so that whatever a connection owes is one contiguous run from its own offset, and the
 * reply to its n-th message must carry the payload of frame n modulo the cycle. Lengths and
 * kinds are checked on every reply, contents on one in sixteen.
 *
 * With --raw there is no WebSocket: the same masked frames go out, as opaque bytes, to a server
 * that sends back what it gets.
 *
 * The server's CPU time (--pid) is read here, at the two ends of the counted window, from the
 * clock that the kernel keeps per process: nanoseconds, all threads, those that ended too.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    IN_SIZE = 1 << 20, /* one recv takes at most this, less a kept tail */
    HEAD_SIZE = 4096,  /* an answer to the upgrade must fit */
    AT_ONCE = 64,      /* handshakes in flight while connections are opened */
    SAMPLE = 16,       /* contents of one reply in so many are compared */
    EVENTS = 512,
    STEPS = 64,           /* histogram buckets per power of two */
    BUCKETS = 60 * STEPS, /* enough for any 64-bit number of nanoseconds */
    OPENING_SECONDS = 20, /* a run that takes longer than its windows and this is killed */
    IDLE_SECONDS = 300,   /* likewise for idle, which has no window */
    SOURCES = 64,         /* loopback addresses that the connect mode takes turns with */
    OP_TEXT = 1,
    OP_CLOSE = 8,
    OP_PING = 9,
    OP_PONG = 10,
};

/* The example of RFC 6455, section 1.3: a fixed key has a known answer. */
#define KEY    "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

struct conn {
    int fd;
    bool wants_out;    /* EPOLLOUT is armed */
    uint32_t sent;     /* messages, counted without end; the ring is indexed modulo cycle */
    uint32_t seen;     /* replies */
    uint32_t answered; /* replies in the recv at hand */
    size_t out_at;     /* offset in the ring of the first byte not sent */
    size_t out_owed;   /* bytes from there */
    uint8_t *tail;     /* an incomplete frame, kept for the next recv; NULL: none ever was */
    size_t tail_len;
    uint64_t *sent_at; /* ns, per message of the cycle */
    uint32_t id;       /* walk: the line that must come next; 0: the final "." */
    enum { CONNECTING, UPGRADING, CLOSING } phase; /* connect mode only */
    uint64_t begun;                                /* likewise; ns */
};

struct load {
    /* From the command line. */
    const char *mode;
    struct sockaddr_in addr;
    const char *path;
    unsigned connections;
    unsigned outstanding;
    size_t size;
    double seconds;
    double warmup; /* s, before counting begins */
    bool raw;
    pid_t pid;      /* the server; 0: its CPU time is not asked for */
    unsigned last;  /* walk: ids go up to here, */
    unsigned chain; /* in chains of so many, each chain walked from its end */

    /* What is sent. */
    char request[512];
    size_t request_len;
    uint8_t *ring;     /* 2 * cycle frames */
    uint8_t *payloads; /* cycle payloads, unmasked */
    uint32_t cycle;    /* a power of two, at least `outstanding` */
    size_t frame_len;

    int epoll;
    struct conn *conns;
    uint8_t *in; /* IN_SIZE */
    uint32_t next_id;
    uint32_t cycles; /* connect: begun so far */

    /* What is counted. */
    bool counting;
    uint64_t messages;
    uint64_t walks;
    uint64_t begun, ended; /* ns */
    double server_cpu;     /* s; first the clock at the beginning, then the difference */
    double own_cpu;        /* likewise */
    uint64_t histogram[BUCKETS];
};

static void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    fputs("load: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static void *allocate(size_t count, size_t size)
{
    void *p = calloc(count, size);

    if (!p)
        fail("out of memory");
    return p;
}

/* Clocks */

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double cpu_seconds(pid_t pid)
{
    clockid_t clock = CLOCK_PROCESS_CPUTIME_ID;
    struct timespec t;

    if (pid && clock_getcpuclockid(pid, &clock) != 0)
        fail("process %d has no CPU clock: is it gone?", (int)pid);
    if (clock_gettime(clock, &t) < 0)
        fail("CPU clock of process %d: %s", (int)pid, strerror(errno));
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The histogram keeps six bits of each value: an error of at most 1.6 %. */

static void histogram_add(struct load *l, uint64_t ns)
{
    unsigned exponent;

    if (ns < STEPS) {
        l->histogram[ns]++;
        return;
    }
    exponent = 63 - (unsigned)__builtin_clzll(ns);
    l->histogram[(exponent - 5) * STEPS + ((ns >> (exponent - 6)) & (STEPS - 1))]++;
}

static double histogram_us(const struct load *l, double part)
{
    uint64_t total = 0, below = 0;
    unsigned i;

    for (i = 0; i < BUCKETS; i++)
        total += l->histogram[i];
    for (i = 0; i < BUCKETS; i++) {
        below += l->histogram[i];
        if (total && (double)below >= part * (double)total)
            break;
    }
    if (i < STEPS || i == BUCKETS)
        return i == BUCKETS ? 0 : i / 1e3;
    return (double)((uint64_t)(STEPS + i % STEPS) << (i / STEPS - 1)) / 1e3;
}

static void count(struct load *l, uint64_t ns)
{
    if (!l->counting)
        return;
    l->messages++;
    histogram_add(l, ns);
}

/* Frames */

static size_t frame_put(uint8_t *out, uint8_t op, const uint8_t *payload, size_t n, uint32_t mask)
{
    size_t head = 2;

    out[0] = 0x80 | op;
    if (n < 126) {
        out[1] = 0x80 | (uint8_t)n;
    } else if (n < 65536) {
        out[1] = 0x80 | 126;
        out[2] = (uint8_t)(n >> 8);
        out[3] = (uint8_t)n;
        head = 4;
    } else {
        out[1] = 0x80 | 127;
        for (unsigned i = 0; i < 8; i++)
            out[2 + i] = (uint8_t)((uint64_t)n >> (56 - 8 * i));
        head = 10;
    }
    memcpy(out + head, &mask, 4);
    for (size_t i = 0; i < n; i++)
        out[head + 4 + i] = payload[i] ^ out[head + i % 4];
    return head + 4 + n;
}

static void make_frames(struct load *l)
{
    size_t head = l->size < 126 ? 6 : l->size < 65536 ? 8 : 14;

    for (l->cycle = 8; l->cycle < l->outstanding;)
        l->cycle *= 2;
    l->frame_len = head + l->size;
    l->payloads = allocate(l->cycle, l->size + 1);
    l->ring = allocate(2 * (size_t)l->cycle, l->frame_len);

    for (uint32_t i = 0; i < l->cycle; i++) {
        uint8_t *payload = l->payloads + i * l->size;

        for (size_t j = 0; j < l->size; j++)
            payload[j] = (uint8_t)('a' + (i * 7 + j) % 26);
        frame_put(l->ring + i * l->frame_len, OP_TEXT, payload, l->size, 0x9e3779b9u * (i + 1));
    }
    memcpy(l->ring + l->cycle * l->frame_len, l->ring, l->cycle * l->frame_len);
}

/* Sending */

static void watch(struct load *l, struct conn *c, int op, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = c};

    if (epoll_ctl(l->epoll, op, c->fd, &ev) < 0)
        fail("epoll_ctl: %s", strerror(errno));
}

/* For frames outside the ring: so short that a socket which does not take one whole is stuck. */
static void send_small(struct conn *c, const uint8_t *frame, size_t n)
{
    if (send(c->fd, frame, n, MSG_NOSIGNAL) != (ssize_t)n)
        fail("a frame of %zu bytes could not be sent: %s", n, strerror(errno));
}

static void flush(struct load *l, struct conn *c)
{
    size_t cycle_len = l->cycle * l->frame_len;

    while (c->out_owed > 0) {
        size_t run = c->out_owed < cycle_len ? c->out_owed : cycle_len;
        ssize_t n = send(c->fd, l->ring + c->out_at, run, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN)
            fail("send: %s", strerror(errno));
        if (n < 0)
            break;
        c->out_at = (c->out_at + (size_t)n) % cycle_len;
        c->out_owed -= (size_t)n;
    }
    if ((c->out_owed > 0) != c->wants_out) {
        c->wants_out = c->out_owed > 0;
        watch(l, c, EPOLL_CTL_MOD, c->wants_out ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
}

static void send_echoes(struct load *l, struct conn *c, uint32_t n, uint64_t now)
{
    for (uint32_t i = 0; i < n; i++)
        c->sent_at[c->sent++ & (l->cycle - 1)] = now;
    c->out_owed += n * l->frame_len;
    flush(l, c);
}

static void send_walk(struct load *l, struct conn *c, uint64_t now)
{
    char text[16];
    uint8_t frame[32];
    int n;

    l->next_id = l->next_id + l->chain > l->last ? l->chain : l->next_id + l->chain;
    c->id = l->next_id;
    c->sent_at[0] = now;
    n = snprintf(text, sizeof(text), "%u", c->id);
    send_small(c, frame, frame_put(frame, OP_TEXT, (uint8_t *)text, (size_t)n, 0x5bd1e995u));
}

/* Receiving */

static void check_echo(struct load *l, struct conn *c, const uint8_t *bytes, size_t n, uint64_t now)
{
    uint32_t slot = c->seen & (l->cycle - 1);
    size_t want = l->raw ? l->frame_len : l->size;
    const uint8_t *like = (l->raw ? l->ring : l->payloads) + slot * want;

    if (n != want)
        fail("sent %zu bytes, got %zu back", want, n);
    if (c->seen == c->sent)
        fail("more replies than messages");
    if (c->seen % SAMPLE == 0 && memcmp(bytes, like, n) != 0)
        fail("reply %u of a connection is not what was sent", c->seen);
    count(l, now - c->sent_at[slot]);
    c->seen++;
    c->answered++;
}

/* The lines are "folder N", N from the id that was sent down to the first of its chain. */
static void check_walk(struct load *l, struct conn *c, const uint8_t *bytes, size_t n, uint64_t now)
{
    char want[32];
    int len = c->id ? snprintf(want, sizeof(want), "folder %u", c->id)
                    : snprintf(want, sizeof(want), ".");

    if (n != (size_t)len || memcmp(bytes, want, n) != 0)
        fail("walk: wanted \"%s\", got \"%.*s\"", want, (int)n, (const char *)bytes);
    if (c->id) {
        if (l->counting)
            l->messages++;
        c->id = (c->id - 1) % l->chain ? c->id - 1 : 0;
        return;
    }
    if (l->counting) {
        l->walks++;
        histogram_add(l, now - c->sent_at[0]);
    }
    send_walk(l, c, now);
}

static void on_frame(struct load *l, struct conn *c, uint8_t op, uint8_t *payload, size_t n,
                     uint64_t now)
{
    uint8_t pong[160];

    if (op == (0x80 | OP_PING) && n < 126)
        send_small(c, pong, frame_put(pong, OP_PONG, payload, n, 0));
    else if (op != (0x80 | OP_TEXT))
        fail("the server sent a frame that begins with 0x%02x", op);
    else if (l->mode[0] == 'e')
        check_echo(l, c, payload, n, now);
    else if (l->mode[0] == 'w')
        check_walk(l, c, payload, n, now);
    else
        fail("the server spoke first");
}

/* Returns the bytes of the frame at hand, 0 when it is not all there. */
static size_t take_frame(struct load *l, struct conn *c, uint8_t *at, size_t len, uint64_t now)
{
    uint64_t n;
    size_t head = 2;

    if (l->raw) {
        if (len < l->frame_len)
            return 0;
        check_echo(l, c, at, l->frame_len, now);
        return l->frame_len;
    }
    if (len < 2)
        return 0;
    n = at[1];
    head = n == 126 ? 4 : n == 127 ? 10 : 2;
    if (n > 127)
        fail("the server masks its frames");
    if (len < head)
        return 0;
    if (head > 2) {
        n = 0;
        for (size_t i = 2; i < head; i++)
            n = n << 8 | at[i];
    }
    if (n > IN_SIZE / 2)
        fail("the server sent a frame of %llu bytes", (unsigned long long)n);
    if (len < head + n)
        return 0;
    on_frame(l, c, at[0], at + head, n, now);
    return head + n;
}

static void keep_tail(struct conn *c, const uint8_t *bytes, size_t n)
{
    c->tail_len = n;
    if (n == 0)
        return;
    if (!c->tail)
        c->tail = allocate(1, IN_SIZE / 2);
    if (n > IN_SIZE / 2)
        fail("an incomplete frame of %zu bytes", n);
    memcpy(c->tail, bytes, n);
}

static void on_readable(struct load *l, struct conn *c)
{
    size_t len = c->tail_len, at = 0, used;
    uint64_t now;
    ssize_t n;

    memcpy(l->in, c->tail ? c->tail : l->in, len);
    n = recv(c->fd, l->in + len, IN_SIZE - len, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        fail("the server closed a connection: %s", n < 0 ? strerror(errno) : "end of stream");
    len += (size_t)n;

    now = now_ns();
    c->answered = 0;
    while ((used = take_frame(l, c, l->in + at, len - at, now)) > 0)
        at += used;
    keep_tail(c, l->in + at, len - at);
    if (c->answered)
        send_echoes(l, c, c->answered, now);
}

/* Opening */

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

    c->fd = new_socket();
    c->sent_at = allocate(l->cycle, sizeof(*c->sent_at));
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(c->fd, (struct sockaddr *)&l->addr, sizeof(l->addr)) < 0)
        fail("connect: %s", strerror(errno));
    if (!l->raw)
        send_small(c, (const uint8_t *)l->request, l->request_len);
}

static void open_end(struct load *l, struct conn *c)
{
    uint8_t head[HEAD_SIZE + 1] = {0};
    size_t len = 0, used = 0;

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

static void open_all(struct load *l)
{
    l->conns = allocate(l->connections, sizeof(*l->conns));
    for (unsigned from = 0; from < l->connections; from += AT_ONCE) {
        unsigned to = from + AT_ONCE < l->connections ? from + AT_ONCE : l->connections;

        for (unsigned i = from; i < to; i++)
            open_begin(l, &l->conns[i]);
        for (unsigned i = from; i < to; i++)
            open_end(l, &l->conns[i]);
    }
}

/* The connect mode: every slot goes round CONNECTING, UPGRADING, CLOSING. It takes turns with
 * the addresses of the loopback network, or ports left in TIME_WAIT would soon run out. */

static void cycle_begin(struct load *l, struct conn *c)
{
    struct sockaddr_in from = {.sin_family = AF_INET};
    int one = 1;

    c->fd = new_socket();
    set_nonblocking(c->fd);
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + l->cycles++ % SOURCES);
    if (bind(c->fd, (struct sockaddr *)&from, sizeof(from)) < 0)
        fail("bind: %s", strerror(errno));
    c->phase = CONNECTING;
    c->tail_len = 0;
    c->begun = now_ns();
    if (connect(c->fd, (struct sockaddr *)&l->addr, sizeof(l->addr)) < 0 && errno != EINPROGRESS)
        fail("connect: %s", strerror(errno));
    watch(l, c, EPOLL_CTL_ADD, EPOLLOUT);
}

static void cycle_event(struct load *l, struct conn *c)
{
    static const uint8_t normal[] = {1000 >> 8, 1000 & 0xff};
    uint8_t frame[16];
    ssize_t n;

    if (c->phase == CONNECTING) {
        send_small(c, (const uint8_t *)l->request, l->request_len);
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

/* Running */

static void begin_window(struct load *l)
{
    l->counting = true;
    l->begun = now_ns();
    l->own_cpu = cpu_seconds(0);
    if (l->pid)
        l->server_cpu = cpu_seconds(l->pid);
}

static void end_window(struct load *l)
{
    l->counting = false;
    l->ended = now_ns();
    l->own_cpu = cpu_seconds(0) - l->own_cpu;
    if (l->pid)
        l->server_cpu = cpu_seconds(l->pid) - l->server_cpu;
}

static void turn(struct load *l, int timeout)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(l->epoll, events, EVENTS, timeout);

    for (int i = 0; i < n; i++) {
        struct conn *c = events[i].data.ptr;

        if (l->mode[0] == 'c') {
            cycle_event(l, c);
            continue;
        }
        if (events[i].events & EPOLLOUT)
            flush(l, c);
        if (events[i].events & ~(uint32_t)EPOLLOUT)
            on_readable(l, c);
    }
}

static void run_until(struct load *l, uint64_t end)
{
    uint64_t now;

    while ((now = now_ns()) < end)
        turn(l, (int)((end - now) / 1000000) + 1);
}

static void run(struct load *l)
{
    uint64_t start = now_ns();

    for (unsigned i = 0; i < l->connections; i++) {
        struct conn *c = &l->conns[i];

        if (l->mode[0] == 'c')
            cycle_begin(l, c);
        else if (l->mode[0] == 'w')
            send_walk(l, c, start);
        else
            send_echoes(l, c, l->outstanding, start);
    }
    run_until(l, start + (uint64_t)(l->warmup * 1e9));
    begin_window(l);
    run_until(l, l->begun + (uint64_t)(l->seconds * 1e9));
    end_window(l);
}

static void report(const struct load *l)
{
    double s = (double)(l->ended - l->begun) / 1e9;

    if (l->messages == 0)
        fail("not one answer in %.1f s", s);
    printf("%s messages=%llu seconds=%.4f rate=%.1f p50_us=%.1f p99_us=%.1f load_busy=%.3f",
           l->mode, (unsigned long long)l->messages, s, (double)l->messages / s,
           histogram_us(l, 0.5), histogram_us(l, 0.99), l->own_cpu / s);
    if (l->mode[0] == 'w')
        printf(" walks=%llu", (unsigned long long)l->walks);
    if (l->pid)
        printf(" cpu_us=%.4f server_busy=%.3f", l->server_cpu * 1e6 / (double)l->messages,
               l->server_cpu / s);
    putchar('\n');
}

static void hold(struct load *l)
{
    struct conn keyboard = {.fd = STDIN_FILENO};
    struct epoll_event ev;

    printf("idle connections=%u\n", l->connections);
    fflush(stdout);
    watch(l, &keyboard, EPOLL_CTL_ADD, EPOLLIN);
    while (epoll_wait(l->epoll, &ev, 1, -1) < 0 || ev.data.ptr != &keyboard)
        if (ev.data.ptr)
            on_readable(l, ev.data.ptr);
}

/* The command line */

static const char *const usage =
    "usage: load echo|walk|connect|idle [-c connections] [-p outstanding] [-s bytes]\n"
    "            [-t seconds] [-w warm-up seconds] [--raw] [--pid server] [--cpu core]\n"
    "            [--last id] [--chain length] HOST:PORT[/path]";

static double number(const char *text, double least, double most)
{
    char *end;
    double value = strtod(text, &end);

    if (*end || end == text || !(value >= least && value <= most))
        fail("%s is not a number from %g to %g", text, least, most);
    return value;
}

static void parse_target(struct load *l, char *target)
{
    char *slash = strchr(target, '/');
    char *colon = strchr(target, ':');
    char host[64];

    l->path = slash ? strdup(slash) : "/";
    if (slash)
        *slash = '\0';
    if (!colon || (size_t)(colon - target) >= sizeof(host))
        fail("%s is not HOST:PORT[/path]", target);
    snprintf(host, sizeof(host), "%.*s", (int)(colon - target), target);
    l->addr.sin_family = AF_INET;
    l->addr.sin_port = htons((uint16_t)number(colon + 1, 1, 65535));
    if (inet_pton(AF_INET, host, &l->addr.sin_addr) != 1)
        fail("%s is not an IPv4 address", host);
    if (ntohl(l->addr.sin_addr.s_addr) >> 24 != 127)
        fail("%s is not a loopback address", host);
    l->request_len = (size_t)snprintf(l->request, sizeof(l->request),
                                      "GET %s HTTP/1.1\r\n"
                                      "Host: %s\r\n"
                                      "Upgrade: websocket\r\n"
                                      "Connection: Upgrade\r\n"
                                      "Sec-WebSocket-Key: " KEY "\r\n"
                                      "Sec-WebSocket-Version: 13\r\n\r\n",
                                      l->path, target);
    if (l->request_len >= sizeof(l->request))
        fail("the path is too long");
}

static void pin(unsigned core)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof(set), &set) < 0)
        fail("core %u: %s", core, strerror(errno));
}

static void parse(struct load *l, int argc, char **argv)
{
    static const struct option options[] = {
        {"connections", required_argument, NULL, 'c'},
        {"outstanding", required_argument, NULL, 'p'},
        {"size", required_argument, NULL, 's'},
        {"seconds", required_argument, NULL, 't'},
        {"warmup", required_argument, NULL, 'w'},
        {"raw", no_argument, NULL, 'r'},
        {"pid", required_argument, NULL, 'P'},
        {"cpu", required_argument, NULL, 'C'},
        {"last", required_argument, NULL, 'l'},
        {"chain", required_argument, NULL, 'n'},
        {NULL, 0, NULL, 0},
    };
    int letter;

    while ((letter = getopt_long(argc, argv, "c:p:s:t:w:", options, NULL)) != -1) {
        switch (letter) {
        case 'c':
            l->connections = (unsigned)number(optarg, 1, 15000);
            break;
        case 'p':
            l->outstanding = (unsigned)number(optarg, 1, 1024);
            break;
        case 's':
            l->size = (size_t)number(optarg, 1, 65536);
            break;
        case 't':
            l->seconds = number(optarg, 0.01, 60);
            break;
        case 'w':
            l->warmup = number(optarg, 0, 60);
            break;
        case 'r':
            l->raw = true;
            break;
        case 'P':
            l->pid = (pid_t)number(optarg, 1, 1 << 22);
            break;
        case 'C':
            pin((unsigned)number(optarg, 0, CPU_SETSIZE - 1));
            break;
        case 'l':
            l->last = (unsigned)number(optarg, 1, 1e6);
            break;
        case 'n':
            l->chain = (unsigned)number(optarg, 1, 1e6);
            break;
        default:
            fail("%s", usage);
        }
    }
    if (argc - optind != 2)
        fail("%s", usage);
    l->mode = argv[optind];
    if (strcmp(l->mode, "echo") != 0 && strcmp(l->mode, "walk") != 0 &&
        strcmp(l->mode, "connect") != 0 && strcmp(l->mode, "idle") != 0)
        fail("%s", usage);
    if (l->raw && l->mode[0] != 'e' && l->mode[0] != 'i')
        fail("--raw goes with echo and idle only");
    if (l->last < l->chain)
        fail("--last must be at least --chain");
    parse_target(l, argv[optind + 1]);
}

int main(int argc, char **argv)
{
    static struct load l = {
        .connections = 10, .outstanding = 1, .size = 20, .seconds = 0.7, .last = 1000, .chain = 10};
    struct rlimit files;

    parse(&l, argc, argv);
    /* Whatever hangs, this ends. */
    alarm(l.mode[0] == 'i' ? IDLE_SECONDS : (unsigned)(l.seconds + l.warmup) + OPENING_SECONDS);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    l.epoll = epoll_create1(EPOLL_CLOEXEC);
    l.in = allocate(1, IN_SIZE);
    make_frames(&l);
    if (l.mode[0] == 'c') {
        l.conns = allocate(l.connections, sizeof(*l.conns));
        for (unsigned i = 0; i < l.connections; i++)
            l.conns[i].tail = allocate(1, HEAD_SIZE + 1);
    } else {
        open_all(&l);
    }
    if (l.mode[0] == 'i') {
        hold(&l);
        return 0;
    }
    run(&l);
    report(&l);
    return 0;
}
