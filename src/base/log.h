/* log.h - one sink, levels, one line per event, with fields.
 *
 * The only global state of the program: a log is useful where nothing was passed down. On a
 * terminal the level is coloured and the clock is short; elsewhere a line is
 * `2026-11-24T12:00:00.000Z LEVEL message key=value …`, or a JSON object with the fields as
 * members of their type.
 *
 * A line is written whole. What comes from a client cannot forge one: control characters and what
 * is not UTF-8 are escaped (as \x1b, in JSON as it demands), and in text a line that a message
 * continues on is indented, so only the program's own lines begin in the first column.
 *
 * A reader that does not read (a full pipe) is waited for RL_LOG_PATIENCE_MS, once; from then on
 * lines are dropped and counted until there is room again, and the next line says how many. */
#ifndef RL_BASE_LOG_H
#define RL_BASE_LOG_H

#include "base/str.h"

enum { RL_LOG_PATIENCE_MS = 50 };

typedef enum rl_log_level {
    RL_LOG_DEBUG,
    RL_LOG_INFO,
    RL_LOG_WARN,
    RL_LOG_ERROR,
    RL_LOG_OFF,
} rl_log_level;

typedef enum rl_log_format { RL_LOG_TEXT, RL_LOG_JSON } rl_log_format;

typedef enum rl_log_type { RL_LOG_STRING, RL_LOG_NUMBER, RL_LOG_BOOL } rl_log_type;

/* Borrowed for the call. A number is written with as many digits as it has, up to 15; a string
 * without a pointer (p is NULL) is left out. */
typedef struct rl_log_field {
    rl_str name;
    rl_log_type type;
    union {
        rl_str text;
        double number;
        bool yes;
    };
} rl_log_field;

static inline rl_log_field rl_log_str(const char *name, rl_str text)
{
    return (rl_log_field){.name = rl_str_of(name), .type = RL_LOG_STRING, .text = text};
}

static inline rl_log_field rl_log_number(const char *name, double number)
{
    return (rl_log_field){.name = rl_str_of(name), .type = RL_LOG_NUMBER, .number = number};
}

/* Call before threads start. `fd` is borrowed; 2 is where logs go by default. */
void rl_log_setup(rl_log_level level, rl_log_format format, int fd);
rl_log_level rl_log_threshold(void);
rl_log_format rl_log_format_of(void);
int rl_log_level_named(const char *name); /* an rl_log_level, or -1 */

/* A message may hold newlines (a traceback). */
void rl_log(rl_log_level level, const char *fmt, ...) RL_PRINTF(2, 3);

/* With fields, in their order; the thread's own (below) follow, but for those named already. */
void rl_log_fields(rl_log_level level, rl_str message, const rl_log_field *fields, size_t n);

enum { RL_LOG_CONTEXT_MAX = 8 };

/* What every line of this thread says besides: fn fills in at most RL_LOG_CONTEXT_MAX fields and
 * returns how many. Asked when a line is written, never otherwise. */
typedef size_t rl_log_context_fn(void *arg, rl_log_field *fields);
void rl_log_set_context(rl_log_context_fn *fn, void *arg); /* of the calling thread; NULL: none */

/* Lines that found no room, since the start. From any thread. */
uint64_t rl_log_dropped(void);

#define rl_debug(...) \
    (rl_log_threshold() <= RL_LOG_DEBUG ? rl_log(RL_LOG_DEBUG, __VA_ARGS__) : (void)0)
#define rl_info(...)  rl_log(RL_LOG_INFO, __VA_ARGS__)
#define rl_warn(...)  rl_log(RL_LOG_WARN, __VA_ARGS__)
#define rl_error(...) rl_log(RL_LOG_ERROR, __VA_ARGS__)

#endif
