/* buf.h - bytes that grow, and are owned.
 *
 * Invariants: data is NULL exactly when cap is 0; len <= cap; the bytes before len
 * are the content. There is no terminator: rl_buf_str() borrows the content, and
 * rl_buf_cstr() adds a NUL behind it. A zeroed struct is an empty buffer. */
#ifndef RL_BASE_BUF_H
#define RL_BASE_BUF_H

#include "base/str.h"

typedef struct rl_buf {
    char *data;
    size_t len;
    size_t cap;
} rl_buf;

/* Life cycle */
void rl_buf_fini(rl_buf *b); /* release; empty and usable afterwards */

/* Size */
void rl_buf_reserve(rl_buf *b, size_t more); /* room for `more` bytes behind len */
static inline void rl_buf_clear(rl_buf *b)   /* keeps the memory */
{
    b->len = 0;
}
void rl_buf_consume(rl_buf *b, size_t n); /* drop n bytes from the front */

/* Content */
void rl_buf_add(rl_buf *b, const void *p, size_t n);
static inline void rl_buf_add_str(rl_buf *b, rl_str s)
{
    rl_buf_add(b, s.p, s.n);
}
void rl_buf_add_c(rl_buf *b, char c);
void rl_buf_printf(rl_buf *b, const char *fmt, ...) RL_PRINTF(2, 3);
static inline rl_str rl_buf_str(const rl_buf *b) /* valid until the next change */
{
    return (rl_str){b->data ? b->data : "", b->len};
}
const char *rl_buf_cstr(rl_buf *b); /* valid until the next change */

#endif
