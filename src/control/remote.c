#include "control/remote.h"

#include "control/control_path.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int rl_remote_send(int fd, rl_control_kind kind, rl_str payload)
{
    rl_buf frame = {0};
    size_t sent = 0;
    int rc = 0;

    rl_control_put(&frame, kind, payload);
    while (rc == 0 && sent < frame.len) {
        ssize_t n = send(fd, frame.data + sent, frame.len - sent, MSG_NOSIGNAL);
        if (n >= 0)
            sent += (size_t)n;
        else if (errno != EINTR)
            rc = -errno;
    }
    rl_buf_fini(&frame);
    return rc;
}

int rl_remote_receive(int fd, rl_buf *buf, size_t *taken, rl_control_frame *f)
{
    char some[16384];

    rl_buf_consume(buf, *taken);
    *taken = 0;
    for (;;) {
        ssize_t n = rl_control_take(rl_buf_str(buf), f);
        if (n > 0)
            *taken = (size_t)n;
        if (n != 0)
            return n > 0 ? 0 : (int)n;
        n = recv(fd, some, sizeof(some), 0);
        if (n > 0)
            rl_buf_add(buf, some, (size_t)n);
        else if (n == 0)
            return -ECONNRESET;
        else
            return -errno;
    }
}

/* A text ends its line, whoever wrote it. */
static void show(FILE *out, rl_str text)
{
    fwrite(text.p, 1, text.n, out);
    if (text.n && text.p[text.n - 1] != '\n')
        fputc('\n', out);
}

static int follow(int fd)
{
    rl_control_frame f;
    rl_buf in = {0};
    size_t taken = 0;
    int status = -1;

    while (status < 0) {
        if (rl_remote_receive(fd, &in, &taken, &f) < 0) {
            fprintf(stderr, "rille: the process has hung up before it was done: see its log\n");
            status = 1;
        } else if (f.kind == RL_CONTROL_OUTPUT) {
            show(stdout, f.payload);
        } else if (f.kind == RL_CONTROL_TROUBLE) {
            fprintf(stderr, "rille: ");
            show(stderr, f.payload);
        } else if (f.kind == RL_CONTROL_DONE) {
            status = !rl_str_eq(f.payload, RL_STR("0"));
        }
    }
    rl_buf_fini(&in);
    return status;
}

static rl_control_kind request_of(rl_command command)
{
    switch (command) {
    case RL_CMD_RELOAD:
        return RL_CONTROL_RELOAD;
    case RL_CMD_ROLLBACK:
        return RL_CONTROL_ROLLBACK;
    case RL_CMD_PROMOTE:
        return RL_CONTROL_PROMOTE;
    case RL_CMD_UPGRADE:
        return RL_CONTROL_UPGRADE;
    default:
        return RL_CONTROL_STATUS;
    }
}

/* A path is seen from here, not from where the other process is. Yours. */
static char *payload_of(const rl_settings *s)
{
    char path[PATH_MAX];

    if (s->command == RL_CMD_STATUS)
        return rl_strdup(s->json ? "json" : "text");
    if (s->command == RL_CMD_UPGRADE && s->program)
        return rl_strdup(realpath(s->program, path) ? path : s->program);
    return rl_strdup("");
}

int rl_remote_run(const rl_settings *s)
{
    rl_err err;
    int fd = rl_control_dial(s->control, s->app, &err);

    if (fd < 0) {
        fprintf(stderr, "rille: %s\n", err.msg);
        return 1;
    }
    char *payload = payload_of(s);
    rl_remote_send(fd, request_of(s->command), rl_str_of(payload));
    rl_free(payload);
    int status = follow(fd);
    close(fd);
    return status;
}
