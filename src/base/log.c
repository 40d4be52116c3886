#include "base/log.h"

#include "base/escape.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PIPE_PIECE = 4096 }; /* a pipe that is ready takes so much at once */

static struct {
    rl_log_level level;
    rl_log_format format;
    int fd;
    bool colour;
    bool waits; /* a pipe, a socket or a terminal: its reader may not read */

    pthread_mutex_t lock; /* for what follows, and for writing */
    bool stuck;           /* it was waited for in vain */
    bool torn;            /* a line was begun, and not ended */
    uint64_t dropped;     /* lines, since the start; */
    uint64_t told;        /* so many of them were said */
} sink = {RL_LOG_INFO, RL_LOG_TEXT, 2, .waits = true, .lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local struct {
    rl_log_context_fn *fn;
    void *arg;
} context;

static const struct {
    const char *name, *padded, *colour;
} levels[] = {
    [RL_LOG_DEBUG] = {"debug", "DEBUG", "\033[2m"},
    [RL_LOG_INFO] = {"info", "INFO ", "\033[36m"},
    [RL_LOG_WARN] = {"warn", "WARN ", "\033[33m"},
    [RL_LOG_ERROR] = {"error", "ERROR", "\033[31m"},
    [RL_LOG_OFF] = {"off", "OFF  ", ""},
};

void rl_log_setup(rl_log_level level, rl_log_format format, int fd)
{
    sink.level = level;
    sink.format = format;
    sink.fd = fd;
    sink.colour = isatty(fd);

    struct stat st;
    sink.waits = fstat(fd, &st) < 0 || !S_ISREG(st.st_mode);
    sink.stuck = sink.torn = false;
}

void rl_log_set_context(rl_log_context_fn *fn, void *arg)
{
    context.fn = fn;
    context.arg = arg;
}

rl_log_level rl_log_threshold(void)
{
    return sink.level;
}

rl_log_format rl_log_format_of(void)
{
    return sink.format;
}

int rl_log_level_named(const char *name)
{
    for (size_t i = 0; i < RL_COUNT(levels); i++)
        if (strcasecmp(name, levels[i].name) == 0)
            return (int)i;
    return -1;
}

/* Making a line */

static void add_number(rl_buf *line, double n)
{
    if (n == floor(n) && fabs(n) < 1e15)
        rl_buf_printf(line, "%.0f", n);
    else if (isfinite(n))
        rl_buf_printf(line, "%.15g", n);
    else if (sink.format == RL_LOG_JSON)
        rl_buf_add_str(line, RL_STR("null"));
    else
        rl_buf_printf(line, "%s", isnan(n) ? "nan" : n > 0 ? "inf" : "-inf");
}

/* A name is one word: what would end it is a "_". */
static void add_key(rl_buf *line, rl_str name)
{
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        rl_buf_add_c(line, c <= ' ' || c == '=' || c == '"' || c >= 0x7f ? '_' : (char)c);
    }
}

static void add_field(rl_buf *line, const rl_log_field *f)
{
    bool json = sink.format == RL_LOG_JSON;

    if (f->type == RL_LOG_STRING && !f->text.p)
        return;
    if (json) {
        rl_buf_add_c(line, ',');
        rl_escape_json(line, f->name);
        rl_buf_add_c(line, ':');
    } else {
        rl_buf_add_c(line, ' ');
        add_key(line, f->name);
        rl_buf_add_c(line, '=');
    }
    if (f->type == RL_LOG_NUMBER)
        add_number(line, f->number);
    else if (f->type == RL_LOG_BOOL)
        rl_buf_printf(line, "%s", f->yes ? "true" : "false");
    else if (json)
        rl_escape_json(line, f->text);
    else
        rl_escape_value(line, f->text);
}

static void add_head(rl_buf *line, rl_log_level level)
{
    struct timespec now;
    struct tm tm;
    char stamp[40];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
    int ms = (int)(now.tv_nsec / 1000000);
    if (sink.format == RL_LOG_JSON)
        rl_buf_printf(line, "{\"time\":\"%s.%03dZ\",\"level\":\"%s\",\"message\":", stamp, ms,
                      levels[level].name);
    else if (sink.colour)
        rl_buf_printf(line, "\033[2m%s\033[0m %s%s\033[0m ", stamp + 11, levels[level].colour,
                      levels[level].padded);
    else
        rl_buf_printf(line, "%s.%03dZ %s ", stamp, ms, levels[level].padded);
}

static bool is_reserved(rl_str name)
{
    return rl_str_eq(name, RL_STR("time")) || rl_str_eq(name, RL_STR("level")) ||
           rl_str_eq(name, RL_STR("message"));
}

/* A name is said once: twice the same member would be two objects to two readers. */
static bool is_said(rl_str name, const rl_log_field *fields, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (rl_str_eq(name, fields[i].name))
            return true;
    return is_reserved(name);
}

static void make_line(rl_buf *line, rl_log_level level, rl_str message, const rl_log_field *fields,
                      size_t n)
{
    rl_log_field ours[RL_LOG_CONTEXT_MAX];
    size_t nours = context.fn ? context.fn(context.arg, ours) : 0;

    rl_str rest = message, first = message;
    if (sink.format == RL_LOG_TEXT)
        rl_str_cut(&rest, '\n', &first); /* fields stand behind the first line */

    add_head(line, level);
    if (sink.format == RL_LOG_JSON)
        rl_escape_json(line, message);
    else
        rl_escape_line(line, first);
    if (sink.colour && n + nours)
        rl_buf_add_str(line, RL_STR("\033[2m"));
    for (size_t i = 0; i < n; i++)
        if (!is_said(fields[i].name, fields, i))
            add_field(line, &fields[i]);
    for (size_t i = 0; i < nours; i++)
        if (!is_said(ours[i].name, fields, n))
            add_field(line, &ours[i]);
    if (sink.colour && n + nours)
        rl_buf_add_str(line, RL_STR("\033[0m"));
    if (sink.format == RL_LOG_JSON) {
        rl_buf_add_c(line, '}');
    } else if (rest.p) {
        rl_buf_add_str(line, RL_STR("\n  "));
        rl_escape_line(line, rest);
    }
    rl_buf_add_c(line, '\n');
}

/* Writing it. The sink is locked. */

/* Somebody else may have the other end of the descriptor, so it stays a blocking one, and is asked
 * for room before each write. */
static bool has_room(void)
{
    struct pollfd p = {.fd = sink.fd, .events = POLLOUT};

    if (!sink.waits)
        return true;
    int rc = poll(&p, 1, sink.stuck ? 0 : RL_LOG_PATIENCE_MS);
    sink.stuck = rc == 0;
    return rc != 0; /* an error is for write() to find */
}

/* False: there was no room for all of it. */
static bool write_all(const char *p, size_t n)
{
    while (n) {
        if (!has_room())
            return false;
        ssize_t done = write(sink.fd, p, sink.waits && n > PIPE_PIECE ? PIPE_PIECE : n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0 && errno == EAGAIN) { /* it was somebody's wish that it does not block */
            sink.stuck = true;
            return false;
        }
        if (done <= 0)
            return true; /* nobody to tell */
        p += done;
        n -= (size_t)done;
    }
    return true;
}

static void write_line(rl_str line)
{
    if (sink.torn && !write_all("\n", 1)) {
        sink.dropped++;
        return;
    }
    sink.torn = false;
    if (!write_all(line.p, line.n)) {
        sink.dropped++;
        sink.torn = line.n > PIPE_PIECE; /* less of it is taken as a whole */
    }
}

static void tell_dropped(void)
{
    rl_buf line = {0};
    rl_log_field n = rl_log_number("dropped", (double)(sink.dropped - sink.told));
    uint64_t told = sink.dropped;

    make_line(&line, RL_LOG_WARN, RL_STR("lines of this log were dropped: nobody read them"), &n,
              1);
    write_line(rl_buf_str(&line));
    if (sink.dropped == told)
        sink.told = told;
    rl_buf_fini(&line);
}

void rl_log_fields(rl_log_level level, rl_str message, const rl_log_field *fields, size_t n)
{
    rl_buf line = {0};

    if (level < sink.level)
        return;
    make_line(&line, level, message, fields, n);
    pthread_mutex_lock(&sink.lock);
    if (sink.dropped != sink.told && has_room())
        tell_dropped();
    write_line(rl_buf_str(&line));
    pthread_mutex_unlock(&sink.lock);
    rl_buf_fini(&line);
}

void rl_log(rl_log_level level, const char *fmt, ...)
{
    char small[512], *msg = small;
    va_list args;

    if (level < sink.level)
        return;
    va_start(args, fmt);
    int n = vsnprintf(small, sizeof(small), fmt, args);
    va_end(args);
    if (n >= (int)sizeof(small)) {
        msg = rl_malloc((size_t)n + 1);
        va_start(args, fmt);
        vsnprintf(msg, (size_t)n + 1, fmt, args);
        va_end(args);
    }
    rl_log_fields(level, rl_str_of(msg), NULL, 0);
    if (msg != small)
        rl_free(msg);
}

uint64_t rl_log_dropped(void)
{
    pthread_mutex_lock(&sink.lock);
    uint64_t n = sink.dropped;
    pthread_mutex_unlock(&sink.lock);
    return n;
}
