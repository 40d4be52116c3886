/* measure.c - time, counts, and the end of a run that goes wrong.
 *
 * The server's CPU time is read from the clock that the kernel keeps per process: nanoseconds,
 * all threads, those that ended too. It is read here, at the two ends of the window, and not by
 * whoever started the generator, so that it covers exactly the answers that are counted.
 */
#include "load.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void fail(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    fputs("load: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

void *allocate(size_t count, size_t size)
{
    void *p = calloc(count, size);

    if (!p)
        fail("out of memory");
    return p;
}

uint64_t now_ns(void)
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

void histogram_add(struct load *l, uint64_t ns)
{
    unsigned exponent;

    if (ns < STEPS) {
        l->histogram[ns]++;
        return;
    }
    exponent = 63 - (unsigned)__builtin_clzll(ns);
    l->histogram[(exponent - 5) * STEPS + ((ns >> (exponent - 6)) & (STEPS - 1))]++;
}

double histogram_us(const struct load *l, double part)
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

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

double whole_us(struct load *l)
{
    size_t n = l->fans < FANS ? l->fans : FANS;

    qsort(l->whole, n, sizeof(*l->whole), by_size);
    return n ? (double)l->whole[n / 2] / 1e3 : 0;
}

void count(struct load *l, uint64_t ns)
{
    if (!l->counting)
        return;
    l->messages++;
    histogram_add(l, ns);
}

void begin_window(struct load *l)
{
    memset(l->histogram, 0, sizeof(l->histogram));
    l->messages = l->walks = l->fans = 0;
    l->counting = true;
    l->begun = now_ns();
    l->own_cpu = cpu_seconds(0);
    if (l->pid)
        l->server_cpu = cpu_seconds(l->pid);
}

void end_window(struct load *l)
{
    l->counting = false;
    l->ended = now_ns();
    l->own_cpu = cpu_seconds(0) - l->own_cpu;
    if (l->pid)
        l->server_cpu = cpu_seconds(l->pid) - l->server_cpu;
}
