#include "control/console.h"

#include "proto/control.h"

struct rl_console {
    rl_loop *main;
    rl_runner *runner;
    rl_console_told *told;
    void *arg;
    double session; /* its name on the worker */
    bool busy;      /* the worker has what follows */
    bool closed;
    bool left;           /* the worker has been told that the session is over */
    unsigned interrupts; /* on their way there and back */

    rl_post post;
    const char *what;
    rl_buf text;
    rl_task *task; /* the worker's thread's */
    char outcome;
    rl_buf output;
};

struct interrupt {
    rl_post post;
    rl_console *console;
};

static void ask(rl_console *c, const char *what, rl_str text);

static void let_go(rl_console *c)
{
    if (c->busy || c->interrupts)
        return;
    if (!c->left) {
        c->left = true;
        ask(c, "leave", RL_STR(""));
        return;
    }
    rl_buf_fini(&c->text);
    rl_buf_fini(&c->output);
    rl_free(c);
}

/* There and back */

static void on_back(rl_post *post)
{
    rl_console *c = RL_CONTAINER_OF(post, rl_console, post);

    c->busy = false;
    if (c->closed)
        let_go(c);
    else
        c->told(c->arg, c->outcome, rl_buf_str(&c->output));
}

static void send_back(rl_console *c)
{
    c->post.fn = on_back;
    /* The main loop outlives the workers. */
    RL_CHECK(rl_loop_post(c->main, &c->post));
}

/* On the worker's thread: [outcome, output], or what went wrong. */
static void on_ended(rl_task *t, void *arg, lua_State *co, bool failed)
{
    rl_console *c = arg;

    c->task = NULL;
    if (!failed) {
        size_t n;
        const char *output = lua_tolstring(co, 2, &n);
        c->outcome = *lua_tostring(co, 1);
        rl_buf_add(&c->output, output, n);
    } else {
        rl_vm_describe_failure(co, &c->output);
    }
    send_back(c);
}

static void on_asked(rl_post *post)
{
    rl_console *c = RL_CONTAINER_OF(post, rl_console, post);
    rl_task *t = rl_runner_task(c->runner, "console", on_ended, c);

    if (!t) {
        rl_buf_add_str(&c->output, RL_STR("the worker is stopping"));
        send_back(c);
        return;
    }
    c->task = t;
    rl_vm_enter(t->vm);
    lua_pushnumber(rl_task_stack(t), c->session);
    lua_pushstring(rl_task_stack(t), c->what);
    lua_pushlstring(rl_task_stack(t), rl_buf_str(&c->text).p, c->text.len);
    rl_vm_leave(t->vm);
    rl_task_queue(t, 3);
}

static void ask(rl_console *c, const char *what, rl_str text)
{
    c->busy = true;
    c->what = what;
    c->outcome = RL_CONTROL_FAILED;
    rl_buf_clear(&c->text);
    rl_buf_clear(&c->output);
    rl_buf_add_str(&c->text, text);
    c->post.fn = on_asked;
    if (rl_runner_post(c->runner, &c->post))
        return;
    rl_buf_add_str(&c->output, RL_STR("the worker has stopped"));
    send_back(c);
}

void rl_console_ask(rl_console *c, const char *what, rl_str text)
{
    RL_CHECK(!c->busy && !c->closed);
    ask(c, what, text);
}

/* Interrupting */

static void on_interrupt_back(rl_post *post)
{
    struct interrupt *i = RL_CONTAINER_OF(post, struct interrupt, post);
    rl_console *c = i->console;

    rl_free(i);
    c->interrupts--;
    if (c->closed)
        let_go(c);
}

static void on_interrupt(rl_post *post)
{
    struct interrupt *i = RL_CONTAINER_OF(post, struct interrupt, post);

    if (i->console->task)
        rl_task_cancel(i->console->task);
    i->post.fn = on_interrupt_back;
    RL_CHECK(rl_loop_post(i->console->main, &i->post));
}

void rl_console_interrupt(rl_console *c)
{
    struct interrupt *i;

    if (!c->busy)
        return;
    i = rl_calloc(1, sizeof(*i));
    i->post.fn = on_interrupt;
    i->console = c;
    if (rl_runner_post(c->runner, &i->post))
        c->interrupts++;
    else
        rl_free(i);
}

/* Opening and closing */

rl_console *rl_console_open(rl_workers *ws, rl_loop *main, unsigned worker, rl_console_told *told,
                            void *arg)
{
    static double sessions;
    rl_console *c = rl_calloc(1, sizeof(*c));

    c->main = main;
    c->runner = rl_workers_runner(ws, worker);
    c->told = told;
    c->arg = arg;
    c->session = ++sessions;
    return c;
}

void rl_console_close(rl_console *c)
{
    if (!c)
        return;
    c->closed = true;
    rl_console_interrupt(c);
    let_go(c);
}
