#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void rl_buf_fini(rl_buf *b)
{
    rl_free(b->data);
    *b = (rl_buf){0};
}

void rl_buf_reserve(rl_buf *b, size_t more)
{
    if (b->cap - b->len >= more)
        return;

    size_t want = b->len + more;
    size_t cap = b->cap ? b->cap * 2 : 64;
    while (cap < want)
        cap *= 2;
    b->data = rl_realloc(b->data, cap);
    b->cap = cap;
}

void rl_buf_consume(rl_buf *b, size_t n)
{
    RL_CHECK(n <= b->len);
    b->len -= n;
    if (b->len && n)
        memmove(b->data, b->data + n, b->len);
}

void rl_buf_add(rl_buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    rl_buf_reserve(b, n);
    memcpy(b->data + b->len, p, n);
    b->len += n;
}

void rl_buf_add_c(rl_buf *b, char c)
{
    rl_buf_add(b, &c, 1);
}

void rl_buf_printf(rl_buf *b, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    RL_CHECK(n >= 0);

    rl_buf_reserve(b, (size_t)n + 1);
    va_start(args, fmt);
    vsnprintf(b->data + b->len, (size_t)n + 1, fmt, args);
    va_end(args);
    b->len += (size_t)n;
}

const char *rl_buf_cstr(rl_buf *b)
{
    rl_buf_reserve(b, 1);
    b->data[b->len] = '\0';
    return b->data;
}
