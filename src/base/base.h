/* base.h - what every file may assume: checks, attributes, memory that is there.
 *
 * Out of memory aborts, once, here: code that pretends to handle it is never run.
 * (Lua's own memory is another matter: vm/ gives each state a budget.) */
#ifndef RL_BASE_BASE_H
#define RL_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RL_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define RL_MUST_USE          __attribute__((warn_unused_result))
#define RL_NORETURN          __attribute__((noreturn))
#define RL_FALLTHROUGH       __attribute__((fallthrough))
#define RL_LIKELY(x)         __builtin_expect(!!(x), 1)
#define RL_UNLIKELY(x)       __builtin_expect(!!(x), 0)

#define RL_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define RL_COUNT(array)                    (sizeof(array) / sizeof((array)[0]))

/* What must be true whatever the world, the peer or the script does. Aborts. */
#define RL_CHECK(cond) (RL_LIKELY(cond) ? (void)0 : rl_check_failed(#cond, __FILE__, __LINE__))

RL_NORETURN void rl_check_failed(const char *what, const char *file, int line);

/* As in libc, but they never return NULL. */
void *rl_malloc(size_t size) RL_MUST_USE;
void *rl_calloc(size_t count, size_t size) RL_MUST_USE;
void *rl_realloc(void *p, size_t size) RL_MUST_USE;
void *rl_aligned_alloc(size_t alignment, size_t size) RL_MUST_USE;  /* a power of two */
char *rl_strdup(const char *s) RL_MUST_USE;                         /* NULL gives NULL */
char *rl_strndup(const char *s, size_t n) RL_MUST_USE;              /* always terminated */
char *rl_sprintf(const char *fmt, ...) RL_PRINTF(1, 2) RL_MUST_USE; /* yours */
void rl_free(void *p);                                              /* NULL is fine */

#endif
