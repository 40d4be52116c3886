#include "base/log.h"

#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

static struct {
    rl_log_level level;
    rl_log_format format;
    int fd;
    bool colour;
} sink = {RL_LOG_INFO, RL_LOG_TEXT, 2, false};

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
}

rl_log_level rl_log_threshold(void)
{
    return sink.level;
}

int rl_log_level_named(const char *name)
{
    for (size_t i = 0; i < RL_COUNT(levels); i++)
        if (strcasecmp(name, levels[i].name) == 0)
            return (int)i;
    return -1;
}

static void add_json_string(rl_buf *out, const char *s)
{
    rl_buf_add_c(out, '"');
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            rl_buf_printf(out, "\\%c", c);
        else if (c == '\n')
            rl_buf_add(out, "\\n", 2);
        else if (c < 0x20)
            rl_buf_printf(out, "\\u%04x", c);
        else
            rl_buf_add_c(out, (char)c);
    }
    rl_buf_add_c(out, '"');
}

static void write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t done = write(fd, p, n);
        if (done <= 0)
            return; /* nobody to tell */
        p += done;
        n -= (size_t)done;
    }
}

void rl_log(rl_log_level level, const char *fmt, ...)
{
    if (level < sink.level)
        return;

    va_list args;
    char small[512], *msg = small;
    va_start(args, fmt);
    int n = vsnprintf(small, sizeof(small), fmt, args);
    va_end(args);
    if (n >= (int)sizeof(small)) {
        msg = rl_malloc((size_t)n + 1);
        va_start(args, fmt);
        vsnprintf(msg, (size_t)n + 1, fmt, args);
        va_end(args);
    }

    struct timespec now;
    struct tm tm;
    char stamp[40];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
    int ms = (int)(now.tv_nsec / 1000000);

    rl_buf line = {0};
    if (sink.format == RL_LOG_JSON) {
        rl_buf_printf(&line, "{\"time\":\"%s.%03dZ\",\"level\":\"%s\",\"message\":", stamp, ms,
                      levels[level].name);
        add_json_string(&line, msg);
        rl_buf_add(&line, "}\n", 2);
    } else if (sink.colour) {
        rl_buf_printf(&line, "\033[2m%s\033[0m %s%s\033[0m %s\n", stamp + 11, levels[level].colour,
                      levels[level].padded, msg);
    } else {
        rl_buf_printf(&line, "%s.%03dZ %s %s\n", stamp, ms, levels[level].padded, msg);
    }
    write_all(sink.fd, line.data, line.len);
    rl_buf_fini(&line);
    if (msg != small)
        rl_free(msg);
}
