/* log.h - one sink, levels, one line per event.
 *
 * The only global state of the program: a log is useful where nothing was passed down.
 * Lines are written whole with one write(2), so threads do not mix them. On a
 * terminal the level is coloured and the clock is short; elsewhere a line is
 * `2026-11-24T12:00:00.000Z LEVEL message key=value …`, or a JSON object. */
#ifndef RL_BASE_LOG_H
#define RL_BASE_LOG_H

#include "base/base.h"

typedef enum rl_log_level {
    RL_LOG_DEBUG,
    RL_LOG_INFO,
    RL_LOG_WARN,
    RL_LOG_ERROR,
    RL_LOG_OFF,
} rl_log_level;

typedef enum rl_log_format { RL_LOG_TEXT, RL_LOG_JSON } rl_log_format;

/* Call before threads start. `fd` is borrowed; 2 is where logs go by default. */
void rl_log_setup(rl_log_level level, rl_log_format format, int fd);
rl_log_level rl_log_threshold(void);
int rl_log_level_named(const char *name); /* an rl_log_level, or -1 */

/* A message may hold newlines (a traceback): text keeps them, JSON escapes them. */
void rl_log(rl_log_level level, const char *fmt, ...) RL_PRINTF(2, 3);

#define rl_debug(...) \
    (rl_log_threshold() <= RL_LOG_DEBUG ? rl_log(RL_LOG_DEBUG, __VA_ARGS__) : (void)0)
#define rl_info(...)  rl_log(RL_LOG_INFO, __VA_ARGS__)
#define rl_warn(...)  rl_log(RL_LOG_WARN, __VA_ARGS__)
#define rl_error(...) rl_log(RL_LOG_ERROR, __VA_ARGS__)

#endif
