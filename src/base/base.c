#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void rl_check_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "rille: %s:%d: impossible: not (%s)\n", file, line, what);
    abort();
}

static void *must(void *p)
{
    if (p)
        return p;
    fputs("rille: out of memory\n", stderr);
    abort();
}

void *rl_malloc(size_t size)
{
    return must(malloc(size ? size : 1));
}

void *rl_calloc(size_t count, size_t size)
{
    return must(calloc(count ? count : 1, size ? size : 1));
}

void *rl_realloc(void *p, size_t size)
{
    return must(realloc(p, size ? size : 1));
}

void *rl_aligned_alloc(size_t alignment, size_t size)
{
    void *p;

    return must(posix_memalign(&p, alignment, size) == 0 ? p : NULL);
}

char *rl_strdup(const char *s)
{
    return s ? must(strdup(s)) : NULL;
}

char *rl_strndup(const char *s, size_t n)
{
    char *copy = rl_malloc(n + 1);

    if (n)
        memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

char *rl_sprintf(const char *fmt, ...)
{
    va_list args;
    char *out;

    va_start(args, fmt);
    int n = vasprintf(&out, fmt, args);
    va_end(args);
    return must(n < 0 ? NULL : out);
}

void rl_free(void *p)
{
    free(p);
}
