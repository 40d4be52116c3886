/* The log: what a line looks like, what cannot be forged, and a reader that does not read. */
#include "unit.h"

#include "base/buf.h"
#include "base/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static int ends[2];

static void open_pipe(rl_log_level level, rl_log_format format)
{
    CHECK(pipe(ends) == 0);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    rl_log_setup(level, format, ends[1]);
}

static void close_pipe(void)
{
    close(ends[0]);
    close(ends[1]);
}

static size_t drain(char *out, size_t size)
{
    size_t n = 0;
    ssize_t got;

    while (n + 1 < size && (got = read(ends[0], out + n, size - 1 - n)) > 0)
        n += (size_t)got;
    out[n] = '\0';
    return n;
}

/* Behind the time, which is as long in every line of a format. */
static const char *said(size_t stamp)
{
    static char line[65536];

    size_t n = drain(line, sizeof(line));
    return n > stamp ? line + stamp : line;
}

enum { TEXT_STAMP = 25, JSON_STAMP = 34 }; /* "2026-11-24T12:00:00.000Z ", {"time":"…Z", */

#define SAYS(stamp, want)                  \
    do {                                   \
        const char *got = said(stamp);     \
        CHECK_MEM(got, strlen(got), want); \
    } while (0)

static void writes_text(void)
{
    open_pipe(RL_LOG_INFO, RL_LOG_TEXT);
    rl_log(RL_LOG_INFO, "plain %d", 7);
    SAYS(TEXT_STAMP, "INFO  plain 7\n");
    rl_debug("not this");
    SAYS(TEXT_STAMP, "");

    rl_log_field fields[] = {
        rl_log_str("word", RL_STR("a/b")),
        rl_log_str("words", RL_STR("a \"b\"=\\")),
        rl_log_str("empty", RL_STR("")),
        rl_log_str("absent", (rl_str){0}),
        rl_log_number("whole", 9007199254740993.0),
        rl_log_number("part", 0.25),
        {.name = RL_STR("yes"), .type = RL_LOG_BOOL, .yes = true},
    };
    rl_log_fields(RL_LOG_WARN, RL_STR("m"), fields, RL_COUNT(fields));
    SAYS(TEXT_STAMP, "WARN  m word=a/b words=\"a \\\"b\\\"=\\\\\" empty=\"\" "
                     "whole=9.00719925474099e+15 part=0.25 yes=true\n");
    close_pipe();
}

static void cannot_be_forged(void)
{
    rl_log_field f = rl_log_str("target", RL_STR("/\n2026-11-24T12:00:00.000Z ERROR \x1b[2J"));

    open_pipe(RL_LOG_INFO, RL_LOG_TEXT);
    rl_log_fields(RL_LOG_INFO, RL_STR("a\nb\r\x1b[31m\xff\xc2\x9b\x7f\tc \xc3\xa9"), &f, 1);
    SAYS(TEXT_STAMP, "INFO  a target=\"/\\n2026-11-24T12:00:00.000Z ERROR \\x1b[2J\"\n"
                     "  b\\x0d\\x1b[31m\\xff\\xc2\\x9b\\x7f\tc \xc3\xa9\n");
    f = (rl_log_field){.name = RL_STR("a b=\n\"c"), .type = RL_LOG_NUMBER, .number = 1};
    rl_log_fields(RL_LOG_INFO, RL_STR("m"), &f, 1);
    SAYS(TEXT_STAMP, "INFO  m a_b___c=1\n");
    close_pipe();

    open_pipe(RL_LOG_INFO, RL_LOG_JSON);
    rl_log_field twice[] = {rl_log_str("k", RL_STR("a\"\\\n\x01\xed\xa0\x80\xf4\x90\x80\x80")),
                            rl_log_number("k", 2), rl_log_str("level", RL_STR("forged")),
                            rl_log_number("bad", 0.0 / 0.0)};
    rl_log_fields(RL_LOG_ERROR, RL_STR("\"}\n{"), twice, RL_COUNT(twice));
    SAYS(JSON_STAMP, ",\"level\":\"error\",\"message\":\"\\\"}\\n{\","
                     "\"k\":\"a\\\"\\\\\\n\\u0001\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
                     "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\",\"bad\":null}\n");
    close_pipe();
}

static size_t two_fields(void *arg, rl_log_field *fields)
{
    fields[0] = rl_log_number("worker", *(int *)arg);
    fields[1] = rl_log_str("id", RL_STR("x"));
    return 2;
}

static void has_a_context(void)
{
    int worker = 3;
    rl_log_field f = rl_log_str("id", RL_STR("mine"));

    open_pipe(RL_LOG_INFO, RL_LOG_TEXT);
    rl_log_set_context(two_fields, &worker);
    rl_info("m");
    SAYS(TEXT_STAMP, "INFO  m worker=3 id=x\n");
    rl_log_fields(RL_LOG_INFO, RL_STR("m"), &f, 1);
    SAYS(TEXT_STAMP, "INFO  m id=mine worker=3\n");
    rl_log_set_context(NULL, NULL);
    rl_info("m");
    SAYS(TEXT_STAMP, "INFO  m\n");
    close_pipe();
}

/* Until the pipe is full it holds whole lines; then they are counted, and told. */
static void drops_what_nobody_reads(void)
{
    static char text[1 << 20], big[20000];
    uint64_t before = rl_log_dropped();

    open_pipe(RL_LOG_INFO, RL_LOG_TEXT);
    for (int i = 0; i < 5000; i++)
        rl_log(RL_LOG_INFO, "line %d, of some length so that the pipe is full soon", i);
    uint64_t dropped = rl_log_dropped() - before;
    CHECK(dropped > 3000 && dropped < 5000);
    drain(text, sizeof(text));
    int whole = 0;
    for (char *at = text; (at = strstr(at, "soon\n")); at++)
        whole++;
    CHECK_INT(whole + dropped, 5000);

    rl_info("heard again");
    char want[128];
    snprintf(want, sizeof(want),
             "WARN  lines of this log were dropped: nobody read them "
             "dropped=%llu\n",
             (unsigned long long)dropped);
    drain(text, sizeof(text));
    CHECK(strstr(text, want) != NULL);
    CHECK(strstr(text, "INFO  heard again\n") != NULL);
    CHECK_INT(rl_log_dropped() - before, dropped);

    /* A long line that is cut off does not swallow the next one. */
    memset(big, 'x', sizeof(big) - 1);
    for (int i = 0; i < 10; i++)
        rl_log(RL_LOG_INFO, "%s", big);
    drain(text, sizeof(text));
    rl_info("whole");
    drain(text, sizeof(text));
    char *at = strstr(text, "INFO  whole\n");
    CHECK(text[0] == '\n' && at && at[-TEXT_STAMP - 1] == '\n');
    close_pipe();
}

static void *write_many(void *arg)
{
    for (int i = 0; i < 500; i++)
        rl_info("thread %s says a line that ends here", (const char *)arg);
    return NULL;
}

static void keeps_lines_of_threads_apart(void)
{
    pthread_t threads[2];
    char *names[] = {"a", "b"}, path[] = "/tmp/rille_log_XXXXXX", line[256];
    int fd = mkstemp(path), lines = 0;

    CHECK(fd >= 0);
    unlink(path);
    rl_log_setup(RL_LOG_INFO, RL_LOG_TEXT, fd);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, write_many, names[i]);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    FILE *file = fdopen(fd, "r");
    rewind(file);
    while (fgets(line, sizeof(line), file)) {
        lines++;
        CHECK(strstr(line, " says a line that ends here\n") != NULL && line[4] == '-');
    }
    CHECK_INT(lines, 1000);
    fclose(file);
}

int main(void)
{
    writes_text();
    cannot_be_forged();
    has_a_context();
    drops_what_nobody_reads();
    keeps_lines_of_threads_apart();
    return unit_done();
}
