/* load.c - a load generator that costs less than the servers it measures.
 *
 *   load MODE [options] HOST:PORT/PATH
 *
 *   echo     -c connections, each with -p messages of -s bytes outstanding, for -t seconds
 *   select   likewise, each message a number drawn at random from 1 to --last; the answer to n is
 *            --sum less n
 *   walk     each message is a number; the server answers with lines up to "."
 *   fan      one connection publishes, all -c get it; then the next. Counted are deliveries. With a
 *            second address the publisher is there, and no member
 *   pace     echoes, --rate a second in all, on -c connections in turn
 *   connect  connect, upgrade, close, over and over, at most -c at a time
 *   idle     open -c connections, say so, hold them until standard input has something
 *
 * It prints one line of key=value pairs. Anything but the right answer ends it
 * with a sentence and status 1: a figure from a server that answers wrongly is
 * worth nothing.
 *
 * One thread, one epoll. With --raw there is no WebSocket: the same masked
 * frames go out, as opaque bytes, to a server that sends back what it gets.
 * --calm: pace shares its core, waits for all answers and says how many came.
 * --turns: fan opens its connections, says so, and has a window for each line of standard input;
 * whole_us is the median of what it took until the last member had a message.
 * --pid names the server whose CPU time per message is wanted.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    EVENTS = 512,
    OPENING_SECONDS = 20, /* a run that takes longer than its windows and this is killed */
    IDLE_SECONDS = 300,   /* likewise for idle, which has no window */
};

/* The example key of RFC 6455, section 1.3, whose answer is known. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="

void turn(struct load *l, int timeout)
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
        if (!(events[i].events & ~(uint32_t)EPOLLOUT))
            continue;
        if (l->gather && !c->tail_len)
            gather_recv(l, c);
        else
            on_readable(l, c);
    }
    if (l->gather)
        gather_run(l);
}

static void run_until(struct load *l, uint64_t end)
{
    uint64_t now;

    if (l->mode[0] == 'p') {
        pace(l, end);
        return;
    }
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
        else if (l->mode[0] == 's')
            send_selects(l, c, start);
        else if (l->mode[0] == 'e')
            send_echoes(l, c, l->outstanding, start);
    }
    if (l->mode[0] == 'f')
        publish(l, start);
    if (l->gather)
        gather_run(l);
    run_until(l, start + (uint64_t)(l->warmup * 1e9));
    begin_window(l);
    run_until(l, l->begun + (uint64_t)(l->seconds * 1e9));
    end_window(l);
}

static void report(struct load *l)
{
    double s = (double)(l->ended - l->begun) / 1e9;

    if (l->messages == 0)
        fail("not one answer in %.1f s", s);
    if (l->mode[0] == 'f' && l->fans == 0)
        fail("not one message reached all in %.1f s", s);
    printf("%s messages=%llu seconds=%.4f rate=%.1f p50_us=%.1f p99_us=%.1f "
           "p999_us=%.1f max_us=%.1f"
           " load_busy=%.3f",
           l->mode, (unsigned long long)l->messages, s, (double)l->messages / s,
           histogram_us(l, 0.5), histogram_us(l, 0.99), histogram_us(l, 0.999), histogram_us(l, 1),
           l->own_cpu / s);
    if (l->calm)
        printf(" answered=%llu", (unsigned long long)settle(l));
    if (l->mode[0] == 'w')
        printf(" walks=%llu", (unsigned long long)l->walks);
    if (l->mode[0] == 'f')
        printf(" whole_us=%.1f", whole_us(l));
    if (l->pid)
        printf(" cpu_us=%.4f server_busy=%.3f", l->server_cpu * 1e6 / (double)l->messages,
               l->server_cpu / s);
    putchar('\n');
}

/* On the same connections, whenever somebody says so. */
static void take_turns(struct load *l)
{
    char line[16];

    printf("fan connections=%u\n", l->connections);
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin)) {
        alarm((unsigned)(l->seconds + l->warmup) + OPENING_SECONDS);
        l->paused = false;
        l->ended = 0;
        run(l);
        report(l);
        fflush(stdout);
        while (!l->paused)
            turn(l, 1000);
        alarm(IDLE_SECONDS);
    }
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

static const char *const usage =
    "usage: load echo|select|walk|fan|pace|connect|idle [-c connections] [-p "
    "outstanding]\n"
    "            [-s bytes] [--rate per second] [--calm] [--turns]\n"
    "            [-t seconds] [-w warm-up seconds] [--raw] [--pid server] "
    "[--last id]\n"
    "            [--chain length] [--sum number] HOST:PORT[/path] [PUBLISHER'S]";

static double number(const char *text, double least, double most)
{
    char *end;
    double value = strtod(text, &end);

    if (*end || end == text || !(value >= least && value <= most))
        fail("%s is not a number from %g to %g", text, least, most);
    return value;
}

static void parse_target(struct target *t, char *target)
{
    char *slash = strchr(target, '/');
    char *colon = strchr(target, ':');
    char *path = strdup(slash ? slash : "/");
    char host[64];

    if (slash)
        *slash = '\0';
    if (!colon || (size_t)(colon - target) >= sizeof(host))
        fail("%s is not HOST:PORT[/path]", target);
    snprintf(host, sizeof(host), "%.*s", (int)(colon - target), target);
    t->addr.sin_family = AF_INET;
    t->addr.sin_port = htons((uint16_t)number(colon + 1, 1, 65535));
    if (inet_pton(AF_INET, host, &t->addr.sin_addr) != 1)
        fail("%s is not an IPv4 address", host);
    if (ntohl(t->addr.sin_addr.s_addr) >> 24 != 127)
        fail("%s is not a loopback address", host);
    t->request_len = (size_t)snprintf(t->request, sizeof(t->request),
                                      "GET %s HTTP/1.1\r\n"
                                      "Host: %s\r\n"
                                      "Upgrade: websocket\r\n"
                                      "Connection: Upgrade\r\n"
                                      "Sec-WebSocket-Key: " KEY "\r\n"
                                      "Sec-WebSocket-Version: 13\r\n\r\n",
                                      path, target);
    if (t->request_len >= sizeof(t->request))
        fail("the path is too long");
    free(path);
}

static bool is_mode(const char *word)
{
    static const char *const modes[] = {"echo", "select", "walk", "fan", "pace", "connect", "idle"};

    for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
        if (strcmp(word, modes[i]) == 0)
            return true;
    return false;
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
        {"last", required_argument, NULL, 'l'},
        {"chain", required_argument, NULL, 'n'},
        {"sum", required_argument, NULL, 'S'},
        {"rate", required_argument, NULL, 'R'},
        {"calm", no_argument, NULL, 'C'},
        {"turns", no_argument, NULL, 'T'},
        {NULL, 0, NULL, 0},
    };
    int letter;

    while ((letter = getopt_long(argc, argv, "c:p:s:t:w:", options, NULL)) != -1) {
        switch (letter) {
        case 'c':
            l->connections = (unsigned)number(optarg, 1, 19000);
            break;
        case 'p':
            l->outstanding = (unsigned)number(optarg, 1, OUTSTANDING);
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
        case 'l':
            l->last = (unsigned)number(optarg, 1, 1e6);
            break;
        case 'n':
            l->chain = (unsigned)number(optarg, 1, 1e6);
            break;
        case 'S':
            l->sum = (unsigned)number(optarg, 1, 1e9);
            break;
        case 'R':
            l->rate = number(optarg, 1, 1e6);
            break;
        case 'C':
            l->calm = true;
            break;
        case 'T':
            l->turns = true;
            break;
        default:
            fail("%s", usage);
        }
    }
    if (argc - optind < 2 || !is_mode(argv[optind]))
        fail("%s", usage);
    l->mode = argv[optind];
    l->apart = l->mode[0] == 'f' && argc - optind == 3;
    if (argc - optind != (l->apart ? 3 : 2))
        fail("%s", usage);
    if (l->raw && !strchr("efip", l->mode[0]))
        fail("--raw goes with echo, fan, pace and idle only");
    if (l->apart && l->connections < 2)
        fail("fan: a publisher and a member at least");
    if (l->calm && l->mode[0] != 'p')
        fail("--calm goes with pace only");
    if (l->turns && l->mode[0] != 'f')
        fail("--turns goes with fan only");
    if (l->last < l->chain)
        fail("--last must be at least --chain");
    if (l->mode[0] == 's' && l->sum < l->last)
        fail("--sum must be at least --last");
    parse_target(&l->to, argv[optind + 1]);
    if (l->apart)
        parse_target(&l->from, argv[optind + 2]);
}

int main(int argc, char **argv)
{
    static struct load l = {.connections = 10,
                            .outstanding = 1,
                            .size = 20,
                            .seconds = 0.7,
                            .last = 1000,
                            .chain = 10,
                            .sum = 1000000,
                            .rate = 5000};
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
    if (l.mode[0] == 's' || l.mode[0] == 'w')
        l.gather = gather_new();
    l.conns = allocate(l.connections, sizeof(*l.conns));
    if (l.mode[0] != 'c')
        open_all(&l);
    if (l.mode[0] == 'i') {
        hold(&l);
        return 0;
    }
    if (l.turns) {
        take_turns(&l);
        return 0;
    }
    run(&l);
    report(&l);
    return 0;
}
