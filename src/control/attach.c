#include "control/attach.h"

#include "control/control_path.h"
#include "control/prompt.h"
#include "control/remote.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* A Ctrl-C just before the wait for an answer is seen so much later. */
enum { TICK_US = 200000 };

struct talk {
    int fd;
    rl_buf in;
    size_t taken;
    bool lost; /* the other end has hung up */
};

/* The answer to a request; `show` gets its output, as it comes. The outcome. */
static char await(struct talk *t, void (*show)(void *arg, rl_str text), void *arg)
{
    rl_control_frame f;

    for (;;) {
        int rc = rl_remote_receive(t->fd, &t->in, &t->taken, &f);
        if (rc == -EINTR || rc == -EAGAIN) {
            if (rl_prompt_interrupted())
                rl_remote_send(t->fd, RL_CONTROL_INTERRUPT, RL_STR(""));
        } else if (rc < 0) {
            t->lost = true;
            return RL_CONTROL_FAILED;
        } else if (f.kind == RL_CONTROL_DONE) {
            return f.payload.n ? f.payload.p[0] : RL_CONTROL_FAILED;
        } else {
            show(arg, f.payload);
        }
    }
}

static char ask(struct talk *t, rl_control_kind kind, rl_str text,
                void (*show)(void *arg, rl_str text), void *arg)
{
    if (rl_remote_send(t->fd, kind, text) < 0) {
        t->lost = true;
        return RL_CONTROL_FAILED;
    }
    return await(t, show, arg);
}

static void print(void *arg, rl_str text)
{
    fwrite(text.p, 1, text.n, stdout);
    fflush(stdout);
}

static void collect(void *arg, rl_str text)
{
    rl_buf_add_str(arg, text);
}

static void complete(void *arg, rl_str before, rl_buf *words)
{
    if (ask(arg, RL_CONTROL_COMPLETE, before, collect, words) != RL_CONTROL_OK)
        rl_buf_clear(words);
}

/* Is there anything to run? */
static bool is_blank(rl_str text)
{
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] != ' ' && text.p[i] != '\t' && text.p[i] != '\n')
            return false;
    return true;
}

static bool has_hung_up(int fd)
{
    char c;

    return recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* Inputs until the end: a status. */
static int converse(struct talk *t, rl_prompt *prompt)
{
    rl_buf input = {0}, line = {0};
    int status = 0;

    while (!t->lost) {
        rl_prompt_event event = rl_prompt_read(prompt, input.len ? ">> " : "> ", &line);
        if (event == RL_PROMPT_END)
            break;
        if (event == RL_PROMPT_GIVEN_UP) {
            rl_buf_clear(&input);
            t->lost = has_hung_up(t->fd);
            continue;
        }
        if (input.len)
            rl_buf_add_c(&input, '\n');
        rl_buf_add_str(&input, rl_buf_str(&line));
        if (is_blank(rl_buf_str(&input))) {
            rl_buf_clear(&input);
            continue;
        }
        char outcome = ask(t, RL_CONTROL_EVAL, rl_buf_str(&input), print, NULL);
        if (outcome == RL_CONTROL_MORE && input.len < RL_CONTROL_MAX / 2)
            continue;
        if (outcome != RL_CONTROL_OK && !rl_prompt_is_shown(prompt))
            status = 1;
        rl_buf_clear(&input);
    }
    if (input.len && !t->lost) {
        fprintf(stderr, "rille: the input ends in the middle of a statement\n");
        status = 1;
    }
    rl_buf_fini(&input);
    rl_buf_fini(&line);
    return status;
}

static int greet(struct talk *t, const char *worker, bool shown)
{
    rl_buf hello = {0};
    char outcome = ask(t, RL_CONTROL_ATTACH, rl_str_of(worker ? worker : ""), collect, &hello);

    if (outcome != RL_CONTROL_OK)
        fprintf(stderr, "rille: %s\n",
                t->lost ? "the process has hung up: see its log" : rl_buf_cstr(&hello));
    else if (shown)
        printf("%s. :help tells more; Ctrl-D leaves.\n", rl_buf_cstr(&hello));
    rl_buf_fini(&hello);
    return outcome != RL_CONTROL_OK;
}

int rl_attach_talk(int fd, const char *worker)
{
    struct talk t = {.fd = fd};
    struct timeval tick = {.tv_usec = TICK_US};
    rl_prompt *prompt = rl_prompt_open(complete, &t);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof(tick));
    int status = greet(&t, worker, rl_prompt_is_shown(prompt));

    if (status == 0) {
        status = converse(&t, prompt);
        if (t.lost) {
            fprintf(stderr, "rille: the process has gone\n");
            status = 1;
        }
    }
    rl_prompt_close(prompt);
    rl_buf_fini(&t.in);
    return status;
}

int rl_attach_run(const rl_settings *s)
{
    rl_err err;
    int fd = rl_control_dial(s->control, s->app, &err);

    if (fd < 0) {
        fprintf(stderr, "rille: %s\n", err.msg);
        return 1;
    }
    int status = rl_attach_talk(fd, s->worker);
    close(fd);
    return status;
}
