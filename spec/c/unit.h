/* unit.h - what a C unit test needs: a check that says where, and a tidy exit.
 *
 * A test is a main() that calls functions and ends with `return unit_done();`. */
#ifndef RL_SPEC_UNIT_H
#define RL_SPEC_UNIT_H

#include <stdio.h>
#include <string.h>

enum { SKIPPED = 77 }; /* a main() returns it when what it needs is not there */

static int unit_checks, unit_failures;

#define CHECK(cond) unit_check(!!(cond), #cond, __FILE__, __LINE__)
#define CHECK_INT(got, want) unit_check_int((long long)(got), (long long)(want), #got, __FILE__, __LINE__)
#define CHECK_MEM(got, n, want) unit_check_mem((got), (n), (want), strlen(want), #got, __FILE__, __LINE__)

static inline void unit_check(int ok, const char *what, const char *file, int line)
{
    unit_checks++;
    if (ok)
        return;
    unit_failures++;
    printf("%s:%d: failed: %s\n", file, line, what);
}

static inline void unit_check_int(long long got, long long want, const char *what,
                                  const char *file, int line)
{
    unit_check(got == want, what, file, line);
    if (got != want)
        printf("  got %lld, want %lld\n", got, want);
}

static inline void unit_check_mem(const char *got, size_t n, const char *want, size_t m,
                                  const char *what, const char *file, int line)
{
    int ok = n == m && memcmp(got, want, n) == 0;

    unit_check(ok, what, file, line);
    if (!ok)
        printf("  got \"%.*s\", want \"%s\"\n", (int)n, got, want);
}

static inline int unit_done(void)
{
    printf("%d passed, %d failed\n", unit_checks - unit_failures, unit_failures);
    return unit_failures || !unit_checks;
}

#endif
