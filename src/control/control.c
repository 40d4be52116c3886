#include "control/control.h"

#include "control/console.h"
#include "proto/control.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MAX_CLIENTS = 32,
    MAX_UNREAD = 8 * RL_CONTROL_MAX, /* bytes of answers: then it is hung up on */
    PATIENCE_MS = 1000,              /* for a worker to answer */
};

struct client {
    rl_control *control;
    uv_pipe_t pipe;
    rl_list link;
    rl_buf in;
    bool busy; /* with a request */
    bool closing;
    rl_console *console; /* NULL: not attached */
    struct asked *asked; /* NULL: no status on its way */
};

/* A status that the workers were asked for. */
struct asked {
    struct client *client; /* NULL: it has left */
    rl_control *control;
    rl_list link;
    bool json;
};

static void on_closed(uv_handle_t *h)
{
    struct client *c = RL_CONTAINER_OF(h, struct client, pipe);

    rl_buf_fini(&c->in);
    rl_free(c);
}

static void hang_up(struct client *c)
{
    if (c->closing)
        return;
    c->closing = true;
    rl_list_remove(&c->link);
    c->control->nclients--;
    rl_workers_forget(c->control->workers, c);
    rl_upgrade_forget(c->control->upgrade, c);
    rl_console_close(c->console);
    if (c->asked)
        c->asked->client = NULL;
    uv_close((uv_handle_t *)&c->pipe, on_closed);
}

/* Answering */

struct answer {
    uv_write_t req;
    struct client *client;
    rl_buf bytes;
    size_t said; /* of them, what a console said */
};

static void on_written(uv_write_t *req, int status)
{
    struct answer *a = RL_CONTAINER_OF(req, struct answer, req);

    if (!a->client->closing && a->said)
        rl_console_read(a->client->console, a->said);
    rl_buf_fini(&a->bytes);
    rl_free(a);
}

static void send_answer(struct client *c, struct answer *a)
{
    a->client = c;
    uv_buf_t buf = uv_buf_init(a->bytes.data, (unsigned)a->bytes.len);
    if (uv_write(&a->req, (uv_stream_t *)&c->pipe, &buf, 1, on_written) < 0) {
        on_written(&a->req, 0);
        hang_up(c);
    } else if (uv_stream_get_write_queue_size((uv_stream_t *)&c->pipe) > MAX_UNREAD) {
        hang_up(c);
    }
}

static void finish(struct client *c, char outcome, rl_control_kind kind, rl_str text)
{
    struct answer *a = rl_calloc(1, sizeof(*a));

    c->busy = false;
    if (text.n)
        rl_control_put(&a->bytes, kind, text);
    rl_control_put(&a->bytes, RL_CONTROL_DONE, (rl_str){&outcome, 1});
    send_answer(c, a);
}

static void refuse(struct client *c, const char *why)
{
    finish(c, RL_CONTROL_FAILED, RL_CONTROL_TROUBLE, rl_str_of(why));
}

/* reload, rollback, promote */

static void on_changed(void *arg, bool done, const char *text)
{
    struct client *c = arg;

    if (done)
        finish(c, RL_CONTROL_OK, RL_CONTROL_OUTPUT, rl_str_of(text));
    else
        refuse(c, text);
}

static void change(struct client *c, rl_change what)
{
    rl_workers_change(c->control->workers, what, on_changed, c);
}

static void upgrade(struct client *c, rl_str program)
{
    rl_control *control = c->control;

    if (!control->upgrade || control->facts.process->unready) {
        refuse(c, "not now: the process starts, or stops");
        return;
    }
    char *path = rl_strndup(program.p, program.n);
    rl_upgrade_begin(control->upgrade, &control->estate, path, on_changed, c);
    rl_free(path);
}

/* status */

static void look(rl_worker *w, void *answer)
{
    rl_figures_of(w, answer);
}

static void drop(void *answer)
{
    rl_figures_fini(answer);
}

static void on_looked(void *arg, const rl_reply *replies, unsigned n)
{
    struct asked *a = arg;
    struct client *c = a->client;
    rl_figures *all = rl_calloc(n ? n : 1, sizeof(*all)); /* what they hold stays the replies' */
    rl_status status = a->control->facts;
    rl_buf text = {0};

    for (unsigned i = 0; i < n; i++)
        if (replies[i].answer)
            all[i] = *(const rl_figures *)replies[i].answer;
    status.code = rl_workers_code(a->control->workers);
    status.uptime = (double)(rl_loop_now(a->control->main) - a->control->started) / 1000;
    status.workers = all;
    status.n = n;
    if (a->json)
        rl_status_json(&text, &status);
    else
        rl_status_text(&text, &status);
    rl_list_remove(&a->link);
    rl_free(a);
    if (c) {
        c->asked = NULL;
        finish(c, RL_CONTROL_OK, RL_CONTROL_OUTPUT, rl_buf_str(&text));
    }
    rl_buf_fini(&text);
    rl_free(all);
}

static void tell_status(struct client *c, rl_str form)
{
    static const rl_question question = {.look = look,
                                         .size = sizeof(rl_figures),
                                         .patience = PATIENCE_MS,
                                         .told = on_looked,
                                         .drop = drop};
    struct asked *a = rl_calloc(1, sizeof(*a));

    a->client = c;
    a->control = c->control;
    a->json = rl_str_eq(form, RL_STR("json"));
    rl_list_init(&a->link);
    rl_list_push(&c->control->asked, &a->link);
    c->asked = a;
    rl_workers_ask(c->control->workers, &question, a);
}

/* attach */

static void on_said(void *arg, rl_str output)
{
    struct answer *a = rl_calloc(1, sizeof(*a));

    a->said = output.n;
    while (output.n) {
        size_t n = output.n < RL_CONTROL_MAX / 2 ? output.n : RL_CONTROL_MAX / 2;
        rl_control_put(&a->bytes, RL_CONTROL_OUTPUT, (rl_str){output.p, n});
        output = (rl_str){output.p + n, output.n - n};
    }
    send_answer(arg, a);
}

static void on_answered(void *arg, char outcome, rl_str output)
{
    finish(arg, outcome, RL_CONTROL_OUTPUT, output);
}

static void attach(struct client *c, rl_str number)
{
    static const rl_console_events events = {.said = on_said, .told = on_answered};
    rl_control *control = c->control;
    unsigned count = rl_workers_count(control->workers);
    uint64_t worker = 0;

    if (c->console) {
        refuse(c, "attached already");
    } else if ((number.n && !rl_str_to_u64(number, RL_MAX_WORKERS, &worker)) || worker >= count) {
        char *why = rl_sprintf("there is no such worker: they are 0 to %u", count - 1);
        refuse(c, why);
        rl_free(why);
    } else {
        c->console = rl_console_open(control->workers, control->main, (unsigned)worker, &events, c);
        char *hello = rl_sprintf("rille %s, pid %d, worker %u of %u", RILLE_VERSION, (int)getpid(),
                                 (unsigned)worker, count);
        finish(c, RL_CONTROL_OK, RL_CONTROL_OUTPUT, rl_str_of(hello));
        rl_free(hello);
    }
}

static void ask(struct client *c, const char *what, rl_str text)
{
    if (c->console)
        rl_console_ask(c->console, what, text);
    else
        refuse(c, "not attached");
}

/* Requests. False: hang up. */

static bool take(struct client *c, const rl_control_frame *f)
{
    if (f->kind == RL_CONTROL_INTERRUPT) {
        if (c->console)
            rl_console_interrupt(c->console);
        return true;
    }
    if (c->busy)
        return false;
    c->busy = true;
    switch (f->kind) {
    case RL_CONTROL_RELOAD:
        change(c, RL_CHANGE_LOAD);
        return true;
    case RL_CONTROL_ROLLBACK:
        change(c, RL_CHANGE_ROLLBACK);
        return true;
    case RL_CONTROL_PROMOTE:
        change(c, RL_CHANGE_PROMOTE);
        return true;
    case RL_CONTROL_UPGRADE:
        upgrade(c, f->payload);
        return true;
    case RL_CONTROL_STATUS:
        tell_status(c, f->payload);
        return true;
    case RL_CONTROL_ATTACH:
        attach(c, f->payload);
        return true;
    case RL_CONTROL_EVAL:
        ask(c, "eval", f->payload);
        return true;
    case RL_CONTROL_COMPLETE:
        ask(c, "complete", f->payload);
        return true;
    default:
        return false;
    }
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct client *c = RL_CONTAINER_OF((uv_pipe_t *)h, struct client, pipe);

    *buf = uv_buf_init(c->control->main->recv, RL_LOOP_RECV_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct client *c = RL_CONTAINER_OF((uv_pipe_t *)stream, struct client, pipe);
    rl_control_frame f;
    ssize_t taken = 0;

    if (n < 0) {
        hang_up(c);
        return;
    }
    rl_buf_add(&c->in, buf->base, (size_t)n);
    while (!c->closing && (taken = rl_control_take(rl_buf_str(&c->in), &f)) > 0) {
        if (!take(c, &f))
            hang_up(c);
        rl_buf_consume(&c->in, (size_t)taken);
    }
    if (taken < 0)
        hang_up(c);
}

static void welcome(rl_control *control, int fd)
{
    struct client *c = rl_calloc(1, sizeof(*c));

    c->control = control;
    rl_list_init(&c->link);
    rl_list_push(&control->clients, &c->link);
    control->nclients++;
    uv_pipe_init(&control->main->uv, &c->pipe, 0);
    if (uv_pipe_open(&c->pipe, fd) < 0) {
        close(fd);
        hang_up(c);
    } else if (uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read) < 0) {
        hang_up(c);
    }
}

static void on_accept(void *arg, int fd, const rl_bound *from)
{
    rl_control *control = arg;

    if (control->nclients < MAX_CLIENTS)
        welcome(control, fd);
    else
        close(fd);
}

/* Opening and closing */

static int listen_on(rl_control *c, rl_err *err)
{
    const rl_bound *b = &c->bindings.list[0].bound;
    int rc = rl_bound_listen(b, err);

    if (rc < 0)
        close(b->fd);
    else
        rc = rl_listener_open(&c->listener, c->main, b, on_accept, c, err);
    return rc;
}

static int start_listening(rl_control *c, const char *path, rl_err *err)
{
    if (c->bindings.n) /* inherited */
        return listen_on(c, err);
    int n = (int)strcspn(path, ",");
    char *address = rl_sprintf("unix:%.*s,mode=0600%s", n, path, path + n);
    const char *addresses[] = {address};
    int rc = rl_bind_all(&c->bindings, addresses, 1, err);

    rl_free(address);
    return rc < 0 ? rc : listen_on(c, err);
}

int rl_control_open(rl_control *c, rl_loop *main, rl_workers *workers, const rl_status *facts,
                    const char *path, rl_err *err)
{
    const rl_bindings inherited = c->bindings;

    *c = (rl_control){.main = main, .workers = workers, .facts = *facts, .open = true};
    c->bindings = inherited;
    c->started = rl_loop_now(main);
    rl_list_init(&c->clients);
    rl_list_init(&c->asked);
    return path ? start_listening(c, path, err) : 0;
}

void rl_control_adopt(rl_control *c, int fd)
{
    welcome(c, fd);
}

void rl_control_unlink(rl_control *c)
{
    if (c->link)
        unlink(c->link);
    rl_free(c->link);
    c->link = NULL;
}

void rl_control_close(rl_control *c)
{
    rl_list *it;

    if (!c->open)
        return;
    rl_control_unlink(c);
    rl_bindings_unlink(&c->bindings);
    rl_listener_close(c->listener);
    rl_bindings_fini(&c->bindings, false);
    while (!rl_list_empty(&c->clients))
        hang_up(RL_LIST_ENTRY(c->clients.next, struct client, link));
    while ((it = rl_list_pop(&c->asked)))
        rl_free(RL_LIST_ENTRY(it, struct asked, link));
    c->open = false;
}
