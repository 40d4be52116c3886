/* runner.c - one worker thread.
 *
 *   load --> (listen) --> start task --> SERVING --drain--> idle --> stop task --> close --> end
 *     '-- other commands: their own task, or nothing ----------------------^
 *
 * The thread's stack is 64 MiB (virtual): see vm/vm.h. */
#include "app/runner.h"

#include "app/library.h"
#include "bind/bind.h"
#include "core/worker.h"

#include <stdlib.h>
#include <unistd.h>

enum {
    STACK_BYTES = 64 << 20,
    DRAIN_TICK_MS = 5,
};

struct rl_runner {
    rl_reporter reporter; /* to the main thread */
    const rl_settings *settings;
    uv_thread_t thread;
    rl_worker worker;
    int program; /* registry reference of rille.program */
    rl_server_limits limits;
    rl_bound bounds[RL_MAX_ADDRESSES];
    unsigned nbounds;
    uv_timer_t drain;
    bool draining, drain_open, stopping, loaded;
    bool ended;       /* what is still ordered comes too late */
    unsigned closing; /* databases */
    int status;
};

/* Calling rille.program */

static lua_State *push_program(rl_runner *r, lua_State *L, const char *name)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->program);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
    return L;
}

static void stop(rl_runner *r, int status);

static void fail(rl_runner *r, const char *text)
{
    rl_report_tell(&r->reporter, RL_NEWS_FAILED, text);
    stop(r, 1);
}

static char **take_strings(lua_State *L, const char *field, size_t *n)
{
    lua_getfield(L, -1, field);
    *n = lua_objlen(L, -1);
    char **list = rl_calloc(*n, sizeof(*list));
    for (size_t i = 0; i < *n; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        const char *s = lua_tostring(L, -1);
        list[i] = rl_strdup(s ? s : "");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return list;
}

/* "As much as you like" is a number, too: one that every unit and integer here can hold. */
static double limit(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
    lua_rawget(L, -2);
    double value = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return value < 1e9 ? value : 1e9;
}

static void take_limits(rl_runner *r, lua_State *L)
{
    lua_getfield(L, -1, "limits");
    r->limits = (rl_server_limits){
        .max_head = (size_t)limit(L, "max_head"),
        .max_body = (size_t)limit(L, "max_body"),
        .max_message = (size_t)limit(L, "max_message"),
        .max_unsent = (size_t)limit(L, "max_unsent"),
        .max_connections = (unsigned)limit(L, "max_connections"),
        .request_timeout = limit(L, "request_timeout"),
        .keepalive_timeout = limit(L, "keepalive_timeout"),
        .ping_interval = limit(L, "ping_interval"),
        .close_timeout = limit(L, "close_timeout"),
    };
    rl_worker_configure(&r->worker, &(rl_worker_limits){
                                        .mailbox = (unsigned)limit(L, "mailbox"),
                                        .abandon_grace = limit(L, "abandon_grace"),
                                    });
    lua_pop(L, 1);
}

/* Stage the script. 0, with the findings in rep, or a failure with its text. */
static int stage(rl_runner *r, rl_report *rep, rl_buf *text)
{
    lua_State *L = r->worker.vm.L;
    rl_err err;

    push_program(r, L, "stage");
    int rc = rl_vm_call(&r->worker.vm, 0, 1, text, &err);
    if (rc < 0)
        return rc;
    rep->loaded.files = take_strings(L, "files", &rep->loaded.nfiles);
    rep->loaded.listen = take_strings(L, "listen", &rep->loaded.nlisten);
    take_limits(r, L);
    lua_pop(L, 1);
    return 0;
}

/* Serve with what was staged. It fails only if the script broke what Lua itself provides. */
static int commit(rl_runner *r, unsigned *generation, rl_buf *text)
{
    lua_State *L = r->worker.vm.L;
    rl_err err;

    push_program(r, L, "commit");
    rl_vm_enter(&r->worker.vm); /* memory is no reason */
    int rc = rl_vm_call(&r->worker.vm, 0, 1, text, &err);
    rl_vm_leave(&r->worker.vm);
    if (rc < 0)
        return rc;
    *generation = (unsigned)lua_tointeger(L, -1);
    lua_pop(L, 1);
    return 0;
}

/* Run a function of rille.program as a task. It is cancelled with those that nobody owns. */
static rl_task *begin_task(rl_runner *r, const char *name, rl_task_ended_fn *ended)
{
    rl_task *t = rl_task_new(&r->worker.vm, ended, r);

    rl_list_push(&r->worker.tasks, &t->owned);
    push_program(r, r->worker.vm.L, name);
    lua_xmove(r->worker.vm.L, rl_task_stack(t), 1);
    return t;
}

/* Serving */

static void on_start_ended(rl_task *t, void *arg, lua_State *co, bool failed)
{
    rl_runner *r = arg;
    rl_worker *w = &r->worker;
    rl_err err;

    if (r->draining)
        return; /* cancelled for it, perhaps */
    if (failed) {
        rl_buf text = {0};
        rl_vm_describe_failure(co, &text);
        fail(r, rl_buf_cstr(&text));
        rl_buf_fini(&text);
        return;
    }
    for (; r->nbounds; r->nbounds--)
        if (rl_worker_listen(w, &r->bounds[r->nbounds - 1], &err) < 0) {
            r->nbounds--;
            fail(r, err.msg);
            return;
        }
    rl_report_tell(&r->reporter, RL_NEWS_SERVING, NULL);
}

static void serve(rl_runner *r)
{
    /* The script's limits are known only now, and nobody is connected yet. */
    rl_server_configure(&r->worker.server, &r->limits);
    r->worker.server.access_log = r->settings->access_log;
    r->worker.show_errors = r->settings->command == RL_CMD_DEV;
    rl_task_queue(begin_task(r, "start", on_start_ended), 0);
}

/* Stopping. From here on nothing new begins; each step waits for the one before. */

static void free_runner_timer(uv_handle_t *h)
{
}

static void end_thread(rl_runner *r)
{
    for (; r->nbounds; r->nbounds--)
        close(r->bounds[r->nbounds - 1].fd);
    if (r->drain_open)
        uv_close((uv_handle_t *)&r->drain, free_runner_timer);
    r->drain_open = false;
    r->ended = true;
    rl_loop_stop(&r->worker.loop);
}

static void on_db_closed(void *arg)
{
    rl_runner *r = arg;

    if (--r->closing == 0)
        end_thread(r);
}

static void close_databases(rl_runner *r)
{
    rl_worker *w = &r->worker;

    r->closing = 1; /* ours, so that the last one is not met too early */
    for (unsigned i = 0; i < w->ndbs; i++)
        if (w->dbs[i]) {
            r->closing++;
            rl_db_close(w->dbs[i], 1, on_db_closed, r);
        }
    w->ndbs = 0;
    on_db_closed(r);
}

static void on_stop_ended(rl_task *t, void *arg, lua_State *co, bool failed)
{
    rl_runner *r = arg;

    if (failed) {
        rl_buf text = {0};
        rl_vm_describe_failure(co, &text);
        rl_error("on_stop failed: %s", rl_buf_cstr(&text));
        rl_buf_fini(&text);
    }
    r->loaded = false;
    stop(r, r->status);
}

/* The worker is quiet when only what we started ourselves could still run. */
static void on_drain_tick(uv_timer_t *timer)
{
    rl_runner *r = RL_CONTAINER_OF(timer, rl_runner, drain);
    rl_worker *w = &r->worker;

    if (r->stopping)
        rl_worker_abort(w);
    if (w->roster.count || w->conns.count)
        return;
    rl_worker_cancel_tasks(w);
    if (!rl_worker_is_idle(w))
        return;
    uv_timer_stop(timer);
    if (r->loaded && !r->stopping)
        rl_task_queue(begin_task(r, "stop", on_stop_ended), 0);
    else
        close_databases(r);
}

static void drain(rl_runner *r)
{
    if (!r->drain_open) {
        uv_timer_init(&r->worker.loop.uv, &r->drain);
        r->drain_open = true;
    }
    r->draining = true;
    rl_worker_drain(&r->worker);
    uv_timer_start(&r->drain, on_drain_tick, 0, DRAIN_TICK_MS);
}

/* Stop with this status; a first failure counts. */
static void stop(rl_runner *r, int status)
{
    if (!r->status)
        r->status = status;
    r->stopping |= status != 0;
    drain(r);
}

/* Commands that serve nothing */

static void say_and_stop(rl_runner *r, const char *name)
{
    lua_State *L = r->worker.vm.L;
    rl_buf text = {0};
    rl_err err;

    push_program(r, L, name);
    if (rl_vm_call(&r->worker.vm, 0, 1, &text, &err) < 0) {
        fail(r, rl_buf_cstr(&text));
    } else {
        rl_report_tell(&r->reporter, RL_NEWS_PRINTED, lua_tostring(L, -1));
        lua_pop(L, 1);
        r->loaded = false; /* nothing was started, so nothing is stopped */
        stop(r, 0);
    }
    rl_buf_fini(&text);
}

static void on_command_ended(rl_task *t, void *arg, lua_State *co, bool failed)
{
    rl_runner *r = arg;
    rl_buf text = {0};

    r->loaded = false;
    if (failed) {
        rl_vm_describe(co, -1, &text);
        fail(r, rl_buf_cstr(&text));
    } else if (lua_type(co, 1) == LUA_TSTRING) {
        rl_report_tell(&r->reporter, RL_NEWS_PRINTED, lua_tostring(co, 1));
        stop(r, 0);
    } else {
        stop(r, (int)lua_tointeger(co, 1));
    }
    rl_buf_fini(&text);
}

static void run_test(rl_runner *r)
{
    rl_task *t = begin_task(r, "test", on_command_ended);
    lua_State *co = rl_task_stack(t);

    lua_newtable(co);
    for (int i = 0; i < r->settings->nrest; i++) {
        lua_pushstring(co, r->settings->rest[i]);
        lua_rawseti(co, -2, i + 1);
    }
    rl_task_queue(t, 1);
}

/* Beginning */

static int open_library(lua_State *L)
{
    rl_runner *r = lua_touserdata(L, 1);
    const rl_settings *s = r->settings;

    rl_library_install(L);
    rl_open_core(L);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "rille.program");
    lua_call(L, 1, 1);
    lua_pushvalue(L, -1);
    r->program = luaL_ref(L, LUA_REGISTRYINDEX);

    lua_getfield(L, -1, "configure");
    lua_newtable(L);
    lua_pushstring(L, s->app);
    lua_setfield(L, -2, "app");
    lua_pushstring(L, s->database);
    lua_setfield(L, -2, "database");
    lua_pushboolean(L, s->command == RL_CMD_DEV);
    lua_setfield(L, -2, "dev");
    lua_pushboolean(L, s->migrate);
    lua_setfield(L, -2, "migrate");
    lua_call(L, 1, 0);
    return 0;
}

static void begin(rl_runner *r)
{
    rl_buf text = {0};
    rl_err err;

    lua_pushcfunction(r->worker.vm.L, open_library);
    lua_pushlightuserdata(r->worker.vm.L, r);
    if (rl_vm_call(&r->worker.vm, 1, 0, &text, &err) < 0) {
        fail(r, rl_buf_cstr(&text));
        rl_buf_fini(&text);
        return;
    }
    if (r->settings->command == RL_CMD_TEST) {
        run_test(r);
        return;
    }

    rl_report *rep = rl_report_new(&r->reporter, RL_NEWS_LOADED);
    if (stage(r, rep, &text) < 0 || commit(r, &rep->loaded.generation, &text) < 0) {
        rep->news = RL_NEWS_FAILED;
        rep->text = rl_strdup(rl_buf_cstr(&text));
        rl_report_send(rep);
        stop(r, 1);
        rl_buf_fini(&text);
        return;
    }
    rep->loaded.generation = 0; /* nobody is served yet */
    r->loaded = true;
    switch (r->settings->command) {
    case RL_CMD_CHECK:
        say_and_stop(r, "check");
        break;
    case RL_CMD_ROUTES:
        say_and_stop(r, "routes");
        break;
    case RL_CMD_MIGRATE:
        rl_task_queue(begin_task(r, "migrate", on_command_ended), 0);
        break;
    case RL_CMD_RUN:
    case RL_CMD_DEV:
        rl_report_send(rep);
        return;
    case RL_CMD_HELP:
    case RL_CMD_TEST:
    case RL_CMD_VERSION:
        break;
    }
    rl_report_free(rep);
}

static void thread_main(void *arg)
{
    rl_runner *r = arg;
    rl_report *last = rl_report_new(&r->reporter, RL_NEWS_STOPPED);

    begin(r);
    rl_loop_run(&r->worker.loop);
    luaL_unref(r->worker.vm.L, LUA_REGISTRYINDEX, r->program);
    rl_worker_fini(&r->worker);
    last->status = r->status;
    rl_report_send(last);
}

/* From the main thread */

struct order {
    rl_post post;
    rl_runner *runner;
    rl_bound bounds[RL_MAX_ADDRESSES];
    unsigned nbounds;
};

static void send_order(rl_runner *r, void (*fn)(rl_post *post), const rl_bound *bounds, unsigned n)
{
    struct order *o = rl_calloc(1, sizeof(*o));

    o->post.fn = fn;
    o->runner = r;
    o->nbounds = n;
    for (unsigned i = 0; i < n; i++)
        o->bounds[i] = bounds[i];
    if (!rl_loop_post(&r->worker.loop, &o->post))
        rl_free(o); /* it has stopped already */
}

static struct order take_order(rl_post *post)
{
    struct order *o = RL_CONTAINER_OF(post, struct order, post), taken = *o;

    rl_free(o);
    return taken;
}

static void do_serve(rl_post *post)
{
    struct order o = take_order(post);
    rl_runner *r = o.runner;

    for (unsigned i = 0; i < o.nbounds; i++)
        if (r->ended)
            close(o.bounds[i].fd);
        else
            r->bounds[r->nbounds++] = o.bounds[i];
    if (!r->draining)
        serve(r);
}

static void do_drain(rl_post *post)
{
    struct order o = take_order(post);
    rl_runner *r = o.runner;

    if (!r->ended)
        stop(r, 0);
}

static void do_abort(rl_post *post)
{
    struct order o = take_order(post);
    rl_runner *r = o.runner;

    if (r->ended)
        return;
    r->stopping = true;
    stop(r, r->status);
}

static void on_after_reload_ended(rl_task *t, void *arg, lua_State *co, bool failed)
{
    if (!failed || t->cancelled)
        return;
    rl_buf text = {0};
    rl_vm_describe_failure(co, &text);
    rl_error("after the reload: %s", rl_buf_cstr(&text));
    rl_buf_fini(&text);
}

static void do_reload(rl_post *post)
{
    struct order o = take_order(post);
    rl_runner *r = o.runner;
    rl_buf text = {0};

    if (r->draining)
        return;
    rl_report *rep = rl_report_new(&r->reporter, RL_NEWS_RELOADED);
    if (stage(r, rep, &text) < 0 || commit(r, &rep->loaded.generation, &text) < 0) {
        rep->news = RL_NEWS_RELOAD_FAILED;
        rep->text = rl_strdup(rl_buf_cstr(&text));
    } else {
        rl_task_queue(begin_task(r, "after_reload", on_after_reload_ended), 0);
    }
    rl_buf_fini(&text);
    rl_report_send(rep);
}

void rl_runner_serve(rl_runner *r, const rl_bound *bounds, unsigned n)
{
    send_order(r, do_serve, bounds, n);
}

void rl_runner_reload(rl_runner *r)
{
    send_order(r, do_reload, NULL, 0);
}

void rl_runner_drain(rl_runner *r)
{
    send_order(r, do_drain, NULL, 0);
}

void rl_runner_abort(rl_runner *r)
{
    send_order(r, do_abort, NULL, 0);
}

int rl_runner_start(rl_runner **out, rl_loop *main, const rl_settings *settings,
                    const rl_runner_events *events, void *arg, rl_err *err)
{
    rl_runner *r = rl_calloc(1, sizeof(*r));
    const rl_vm_opts vm = {
        .memory_limit = (size_t)(settings->memory_limit * 1048576),
        .gc_stress = getenv("RILLE_GC_STRESS") != NULL,
    };
    const uv_thread_options_t options = {.flags = UV_THREAD_HAS_STACK_SIZE,
                                         .stack_size = STACK_BYTES};

    r->reporter = (rl_reporter){.main = main, .events = *events, .arg = arg};
    r->settings = settings;
    r->program = LUA_NOREF;
    /* Made here, so that orders have a loop to go to; used by the thread alone. */
    int rc = rl_worker_init(&r->worker, &vm, &(rl_server_limits){0}, &(rl_worker_limits){0}, err);
    if (rc == 0) {
        rc = uv_thread_create_ex(&r->thread, &options, thread_main, r);
        if (rc < 0) {
            rl_worker_fini(&r->worker);
            rl_err_set(err, rc, "no thread: %s", uv_strerror(rc));
        }
    }
    if (rc < 0) {
        rl_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

void rl_runner_free(rl_runner *r)
{
    uv_thread_join(&r->thread);
    rl_free(r);
}
