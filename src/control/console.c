#include "control/console.h"

#include "proto/control.h"
#include "vm/watchdog.h"

struct rl_console {
    rl_loop *main;
    rl_runner *runner;
    const rl_console_events *events;
    void *arg;
    double session; /* its name on the worker */
    bool busy;      /* the worker has what follows */
    bool closed;
    bool left;           /* the worker has been told that the session is over */
    unsigned interrupts; /* on their way there and back */

    rl_post post;
    const char *what;
    rl_buf text;
    char outcome;
    rl_buf output;

    uv_mutex_t lock;    /* of what follows, which both threads use while it is busy */
    rl_task *task;      /* the worker's, which alone changes it */
    rl_post saying;     /* posted while there is something in */
    rl_buf said, taken; /* by the main thread */
    size_t unread;      /* of what was taken */
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
    uv_mutex_destroy(&c->lock);
    rl_buf_fini(&c->text);
    rl_buf_fini(&c->output);
    rl_buf_fini(&c->said);
    rl_buf_fini(&c->taken);
    rl_free(c);
}

/* What is printed meanwhile. Posts arrive in order, so the last of it does before the end. */

static void on_saying(rl_post *post)
{
    rl_console *c = RL_CONTAINER_OF(post, rl_console, saying);

    uv_mutex_lock(&c->lock);
    rl_buf said = c->said;
    c->said = c->taken;
    c->taken = said;
    c->unread += said.len;
    uv_mutex_unlock(&c->lock);
    if (!c->closed)
        c->events->said(c->arg, rl_buf_str(&c->taken));
    rl_buf_clear(&c->taken);
}

void rl_console_read(rl_console *c, size_t n)
{
    uv_mutex_lock(&c->lock);
    c->unread -= n;
    uv_mutex_unlock(&c->lock);
}

/* On the worker's thread: say(text) -> how many bytes of it there was room for */
static int l_say(lua_State *L)
{
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    rl_console *c = lua_touserdata(L, lua_upvalueindex(1));

    uv_mutex_lock(&c->lock);
    size_t room = RL_CONSOLE_ROOM - c->unread - c->said.len;
    n = n < room ? n : room;
    bool first = n && !c->said.len;
    rl_buf_add(&c->said, text, n);
    uv_mutex_unlock(&c->lock);
    if (first)
        RL_CHECK(rl_loop_post(c->main, &c->saying)); /* the main loop outlives the workers */
    lua_pushnumber(L, (double)n);
    return 1;
}

/* There and back */

static void on_back(rl_post *post)
{
    rl_console *c = RL_CONTAINER_OF(post, rl_console, post);

    c->busy = false;
    if (c->closed)
        let_go(c);
    else
        c->events->told(c->arg, c->outcome, rl_buf_str(&c->output));
}

static void send_back(rl_console *c)
{
    c->post.fn = on_back;
    RL_CHECK(rl_loop_post(c->main, &c->post));
}

static void set_task(rl_console *c, rl_task *t)
{
    uv_mutex_lock(&c->lock);
    c->task = t;
    uv_mutex_unlock(&c->lock);
}

/* On the worker's thread: [outcome, output], or what went wrong. */
static void on_ended(rl_task *t, void *arg, lua_State *co, bool failed)
{
    rl_console *c = arg;

    set_task(c, NULL);
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
    lua_State *co = rl_task_stack(t);
    set_task(c, t);
    rl_vm_enter(t->vm);
    lua_pushnumber(co, c->session);
    lua_pushstring(co, c->what);
    lua_pushlstring(co, rl_buf_str(&c->text).p, c->text.len);
    lua_pushlightuserdata(co, c);
    lua_pushcclosure(co, l_say, 1);
    rl_vm_leave(t->vm);
    rl_task_queue(t, 4);
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
    if (!rl_runner_post(c->runner, &i->post)) {
        rl_free(i);
        return;
    }
    c->interrupts++;
    uv_mutex_lock(&c->lock);
    if (c->task)
        rl_watchdog_interrupt(c->task->vm, c->task);
    uv_mutex_unlock(&c->lock);
}

/* Opening and closing */

rl_console *rl_console_open(rl_workers *ws, rl_loop *main, unsigned worker,
                            const rl_console_events *events, void *arg)
{
    static double sessions;
    rl_console *c = rl_calloc(1, sizeof(*c));

    c->main = main;
    c->runner = rl_workers_runner(ws, worker);
    c->events = events;
    c->arg = arg;
    c->session = ++sessions;
    c->saying.fn = on_saying;
    uv_mutex_init(&c->lock);
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
