/* load.h - what the parts of the load generator share.
 *
 * load.c reads the command line, runs the windows and reports; dial.c opens
 * connections; wire.c makes frames, sends them and checks what comes back,
 * select.c those that vary, fan.c those that go to many; gather.c has many of
 * them read or sent at once; pace.c sends by the
 * clock; measure.c keeps time and counts. Whatever goes wrong is the end of the
 * run: fail() does not return.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    IN_SIZE = 1 << 20,    /* one recv takes at most this, less a kept tail */
    STEPS = 64,           /* histogram buckets per power of two */
    BUCKETS = 60 * STEPS, /* enough for any 64-bit number of nanoseconds */
    FANS = 1 << 16,       /* fan-outs of a window whose whole time is kept */
    OUTSTANDING = 1024,   /* messages on one connection, at most */
    OP_TEXT = 1,
    OP_CLOSE = 8,
    OP_PING = 9,
    OP_PONG = 10,
};

struct conn {
    int fd;
    bool wants_out;    /* EPOLLOUT is armed */
    uint32_t sent;     /* messages, counted without end; the ring is indexed modulo
                          cycle */
    uint32_t seen;     /* replies */
    uint32_t answered; /* replies in the recv at hand */
    size_t out_at;     /* offset in the ring of the first byte not sent */
    size_t out_owed;   /* bytes from there */
    uint8_t *tail;     /* an incomplete frame, kept for the next recv; NULL: none ever
                          was */
    size_t tail_len;
    uint64_t *sent_at; /* ns, per message of the cycle */
    uint32_t *asked;   /* select: the numbers out, in no order; 0: a free place */
    uint32_t id;       /* walk: the line that must come next; 0: the final "." */
    enum { CONNECTING, UPGRADING, CLOSING } phase; /* connect mode only */
    uint64_t begun;                                /* likewise; ns */
};

/* Where connections go, and what asks for the upgrade there. */
struct target {
    struct sockaddr_in addr;
    char request[512];
    size_t request_len;
};

struct load {
    /* From the command line. */
    const char *mode; /* its first letter tells them apart */
    struct target to;
    struct target from; /* fan: the publisher's, who is no member then */
    bool apart;         /* there is one */
    unsigned connections;
    unsigned outstanding;
    size_t size;
    double seconds;
    double warmup; /* s, before counting begins */
    bool raw;
    pid_t pid;      /* the server; 0: its CPU time is not asked for */
    unsigned last;  /* walk and select: ids go up to here, */
    unsigned chain; /* walk: in chains of so many, each walked from its end */
    unsigned sum;   /* select: what a number and its answer add up to */
    double rate;    /* pace: messages per second */
    bool calm;      /* pace: shares its core, and ends when all is answered */
    bool turns;     /* fan: a window for each line of standard input */

    /* What is sent. */
    uint8_t *ring;     /* 2 * cycle frames */
    uint8_t *payloads; /* cycle payloads, unmasked */
    uint32_t cycle;    /* a power of two, at least `outstanding` */
    size_t frame_len;

    int epoll;
    struct gather *gather; /* select and walk; else NULL */
    struct conn *conns;
    uint8_t *in; /* IN_SIZE */
    uint32_t next_id;
    uint64_t dice;    /* select: the state of its random numbers */
    uint32_t cycles;  /* connect: begun so far */
    uint32_t reached; /* fan: members that have the message under way */
    bool paused;      /* fan: all have it, and the next one is not asked for */
    uint64_t due;     /* pace: when the next message is, ns; 0: not begun */
    uint32_t turn;    /* pace: whose it is */

    /* What is counted. */
    bool counting;
    uint64_t messages;
    uint64_t walks;
    uint64_t fans;         /* that ended in the window */
    uint64_t whole[FANS];  /* ns, of each of them: until the last member had it */
    uint64_t begun, ended; /* ns */
    double server_cpu;     /* s; first the clock at the beginning, then the difference */
    double own_cpu;        /* likewise */
    uint64_t histogram[BUCKETS];
};

/* measure.c */

/* Say one sentence on standard error and exit with status 1. */
void fail(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
void *allocate(size_t count, size_t size); /* zeroed */
uint64_t now_ns(void);

/* Take note of one answer, or one cycle, and how long it took; nothing outside
 * the window. */
void count(struct load *l, uint64_t ns);
void histogram_add(struct load *l, uint64_t ns);

/* The median in microseconds of what whole fan-outs took; sorts them. */
double whole_us(struct load *l);

/* The latency in microseconds that `part` of the answers did not exceed. */
double histogram_us(const struct load *l, double part);

/* The window is what is counted and reported, CPU clocks included. */
void begin_window(struct load *l);
void end_window(struct load *l);

/* wire.c */

/* Write a masked frame and return its length: at most n + 14. */
size_t frame_put(uint8_t *out, uint8_t op, const uint8_t *payload, size_t n, uint32_t mask);

/* Fill the ring and the payloads from size and outstanding. */
void make_frames(struct load *l);

void watch(struct load *l, struct conn *c, int op, uint32_t events);

/* For frames outside the ring: so short that a socket which does not take one
 * whole is stuck. */
void send_small(struct conn *c, const uint8_t *frame, size_t n);

/* Send what the connection owes; the rest, if any, when the socket is writable.
 */
void flush(struct load *l, struct conn *c);
void send_echoes(struct load *l, struct conn *c, uint32_t n, uint64_t now);
void send_walk(struct load *l, struct conn *c, uint64_t now);

/* One recv: check the replies in it and send as many messages. */
void on_readable(struct load *l, struct conn *c);
/* The same of what a recv into `bytes` brought; n: how much, or -errno. Only where no
 * tail is kept. */
void take_received(struct load *l, struct conn *c, uint8_t *bytes, ssize_t n);
void keep_tail(struct conn *c, const uint8_t *bytes, size_t n);

/* gather.c: done by gather_run() at the latest */

struct gather *gather_new(void);
void gather_recv(struct load *l, struct conn *c); /* take_received() tells */
void gather_send(struct load *l, struct conn *c, const uint8_t *bytes, size_t n);
void gather_run(struct load *l);

/* select.c */

/* Ask as many numbers as there is room for. */
void send_selects(struct load *l, struct conn *c, uint64_t now);
void check_select(struct load *l, struct conn *c, const uint8_t *bytes, size_t n, uint64_t now);

/* fan.c */

void publish(struct load *l, uint64_t now);
void check_delivery(struct load *l, struct conn *c, const uint8_t *bytes, size_t n, uint64_t now);

/* pace.c */

/* Send what is due, and read, until `end` (ns). */
void pace(struct load *l, uint64_t end);

/* Wait for the answers that are still out, all of which must come. Returns how many
 * messages were sent in all, warm-up included. */
uint64_t settle(struct load *l);

/* load.c */

/* Take what the sockets have to say, waiting for at most `timeout` ms. */
void turn(struct load *l, int timeout);

/* dial.c */

/* Open and upgrade all connections, blocking; afterwards they do not block and
 * are watched. */
void open_all(struct load *l);

/* The connect mode. */
void cycle_begin(struct load *l, struct conn *c);
void cycle_event(struct load *l, struct conn *c);

#endif
