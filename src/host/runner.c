/* runner.c - one worker thread.
 *
 *   load --> (prepare) --> start task --> SERVING --drain--> idle --> stop task --> close --> end
 *     '-- other commands: their own task, or nothing -----------------------^
 *
 * What follows `drain` is runner_stop.c. The thread's stack is 64 MiB (virtual): see vm/vm.h. */
#include "host/runner_parts.h"

#include "base/log.h"
#include "core/names.h"
#include "io/watch.h"

#include <stdlib.h>
#include <unistd.h>

enum { STACK_BYTES = 64 << 20 };

static void fail(rl_runner *r, const char *text)
{
    rl_report_tell(&r->reporter, RL_NEWS_FAILED, text);
    rl_runner_stop(r, 1);
}

static void tell(rl_runner *r, rl_news news)
{
    rl_report_tell(&r->reporter, news, NULL);
}

/* Starting */

/* A step of the start that is a task: tell when it has ended, or why it failed. */
static void end_step(rl_runner *r, lua_State *co, bool failed, rl_news news)
{
    if (r->draining)
        return; /* cancelled for it, perhaps */
    if (failed) {
        rl_buf text = {0};
        rl_vm_describe_failure(co, &text);
        fail(r, rl_buf_cstr(&text));
        rl_buf_fini(&text);
        return;
    }
    tell(r, news);
}

static void on_prepare_ended(rl_task *t, void *arg, lua_State *co, bool failed)
{
    end_step(arg, co, failed, RL_NEWS_PREPARED);
}

static void on_start_ended(rl_task *t, void *arg, lua_State *co, bool failed)
{
    end_step(arg, co, failed, RL_NEWS_STARTED);
}

static void begin_script(rl_runner *r)
{
    r->worker.server.access_log = r->settings->access_log;
    r->worker.show_errors = r->settings->command == RL_CMD_DEV;
    rl_task_queue(rl_script_task(&r->script, "start", on_start_ended, r), 0);
}

static void serve(rl_runner *r)
{
    rl_err err;

    while (r->nbounds)
        if (rl_worker_listen(&r->worker, &r->bounds[--r->nbounds], &err) < 0) {
            fail(r, err.msg);
            return;
        }
    tell(r, RL_NEWS_SERVING);
}

/* Commands that serve nothing */

static void say_and_stop(rl_runner *r, const char *name)
{
    rl_buf text = {0};
    char *said;

    if (rl_script_say(&r->script, name, &said, &text) < 0) {
        fail(r, rl_buf_cstr(&text));
    } else {
        rl_report_tell(&r->reporter, RL_NEWS_PRINTED, said);
        rl_free(said);
        r->loaded = false; /* nothing was started, so nothing is stopped */
        rl_runner_stop(r, 0);
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
        rl_runner_stop(r, 0);
    } else {
        rl_runner_stop(r, (int)lua_tointeger(co, 1));
    }
    rl_buf_fini(&text);
}

/* A command that needs no application, with its arguments as a list. */
static void run_alone(rl_runner *r, const char *name)
{
    rl_task *t = rl_script_task(&r->script, name, on_command_ended, r);
    lua_State *co = rl_task_stack(t);

    lua_newtable(co);
    for (int i = 0; i < r->settings->nrest; i++) {
        lua_pushstring(co, r->settings->rest[i]);
        lua_rawseti(co, -2, i + 1);
    }
    rl_task_queue(t, 1);
}

/* Beginning */

/* Load the script; what a server is to do then is for the main thread to say. */
static void load(rl_runner *r)
{
    rl_buf text = {0};
    rl_report *rep = rl_report_new(&r->reporter, RL_NEWS_LOADED);

    if (rl_script_stage(&r->script, RL_CHANGE_LOAD, &rep->loaded, &text) < 0 ||
        rl_script_commit(&r->script, &rep->loaded, &text) < 0) {
        rep->news = RL_NEWS_FAILED;
        rep->text = rl_strdup(rl_buf_cstr(&text));
        rl_report_send(rep);
        rl_runner_stop(r, 1);
        rl_buf_fini(&text);
        return;
    }
    r->loaded = true;
    switch (r->settings->command) {
    case RL_CMD_CHECK:
        say_and_stop(r, "check");
        break;
    case RL_CMD_ROUTES:
        say_and_stop(r, "routes");
        break;
    case RL_CMD_RUN:
    case RL_CMD_DEV:
    case RL_CMD_SHELL:
        rl_report_send(rep);
        return;
    case RL_CMD_HELP:
    case RL_CMD_ATTACH:
    case RL_CMD_STATUS:
    case RL_CMD_RELOAD:
    case RL_CMD_ROLLBACK:
    case RL_CMD_PROMOTE:
    case RL_CMD_UPGRADE:
    case RL_CMD_SEND:
    case RL_CMD_TEST:
    case RL_CMD_TOOL:
    case RL_CMD_VERSION:
        break;
    }
    rl_report_free(rep);
}

static void begin(rl_runner *r)
{
    rl_buf text = {0};

    if (rl_script_open(&r->script, &r->worker, r->settings, &text) < 0)
        fail(r, rl_buf_cstr(&text));
    else if (r->settings->command == RL_CMD_TEST)
        run_alone(r, "test");
    else if (r->settings->command == RL_CMD_SEND)
        run_alone(r, "send");
    else if (r->settings->command == RL_CMD_TOOL)
        run_alone(r, "tool");
    else
        load(r);
    rl_buf_fini(&text);
}

static void tell_used(rl_worker *w, const char *path, int fd)
{
    rl_runner *r = RL_CONTAINER_OF(w, rl_runner, worker);
    rl_report *rep = rl_report_new(&r->reporter, RL_NEWS_USED);

    rep->text = rl_strdup(path);
    rep->sum = rl_watch_sum(path, fd);
    rl_report_send(rep);
}

static void thread_main(void *arg)
{
    rl_runner *r = arg;
    rl_report *last = rl_report_new(&r->reporter, RL_NEWS_STOPPED);

    rl_names_log(&r->worker);
    r->worker.uses = rl_settings_watch(r->settings) ? tell_used : NULL;
    begin(r);
    rl_loop_run(&r->worker.loop);
    rl_log_set_context(NULL, NULL);
    rl_script_close(&r->script);
    rl_worker_fini(&r->worker);
    last->status = r->status;
    rl_report_send(last);
}

/* From the main thread */

struct order {
    rl_post post;
    rl_runner *runner;
    void (*fn)(rl_runner *r);
    rl_bound bounds[RL_MAX_SOCKETS];
    unsigned nbounds;
    rl_change change; /* of stage */
    unsigned attempt;
    char *words; /* of trouble */
};

static void on_order(rl_post *post)
{
    struct order *o = RL_CONTAINER_OF(post, struct order, post);
    rl_runner *r = o->runner;

    for (unsigned i = 0; i < o->nbounds; i++)
        if (r->ended)
            close(o->bounds[i].fd);
        else
            r->bounds[r->nbounds++] = o->bounds[i];
    r->change = o->change;
    r->attempt = o->attempt;
    if (o->words && !r->ended)
        rl_script_trouble(&r->script, o->words);
    if (o->fn && !r->ended)
        o->fn(r);
    rl_free(o->words);
    rl_free(o);
}

/* Takes it. */
static void post(struct order *o)
{
    o->post.fn = on_order;
    if (rl_runner_post(o->runner, &o->post))
        return;
    for (unsigned i = 0; i < o->nbounds; i++)
        close(o->bounds[i].fd);
    rl_free(o->words);
    rl_free(o);
}

static void send_order(rl_runner *r, void (*fn)(rl_runner *r), const rl_bound *bounds, unsigned n)
{
    struct order *o = rl_calloc(1, sizeof(*o));

    o->runner = r;
    o->fn = fn;
    o->nbounds = n;
    for (unsigned i = 0; i < n; i++)
        o->bounds[i] = bounds[i];
    post(o);
}

static void do_prepare(rl_runner *r)
{
    if (!r->draining)
        rl_task_queue(rl_script_task(&r->script, "prepare", on_prepare_ended, r), 0);
}

static void do_begin(rl_runner *r)
{
    if (!r->draining)
        begin_script(r);
}

static void do_serve(rl_runner *r)
{
    if (!r->draining)
        serve(r);
}

static void do_drain(rl_runner *r)
{
    rl_runner_stop(r, 0);
}

static void do_abort(rl_runner *r)
{
    r->stopping = true;
    rl_runner_stop(r, r->status);
}

/* Reloading */

static void do_stage(rl_runner *r)
{
    rl_buf text = {0};

    if (r->draining)
        return;
    rl_report *rep = rl_report_new(&r->reporter, RL_NEWS_STAGED);
    rep->attempt = r->attempt;
    if (rl_script_stage(&r->script, r->change, &rep->loaded, &text) < 0)
        rep->text = rl_strdup(rl_buf_cstr(&text));
    rl_buf_fini(&text);
    rl_report_send(rep);
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

static void do_commit(rl_runner *r)
{
    rl_buf text = {0};

    if (r->draining)
        return;
    rl_report *rep = rl_report_new(&r->reporter, RL_NEWS_COMMITTED);
    if (rl_script_commit(&r->script, &rep->loaded, &text) < 0)
        rep->text = rl_strdup(rl_buf_cstr(&text));
    else
        rl_task_queue(rl_script_task(&r->script, "after_reload", on_after_reload_ended, r), 0);
    rl_buf_fini(&text);
    rl_report_send(rep);
}

static void do_discard(rl_runner *r)
{
    rl_script_discard(&r->script);
}

void rl_runner_prepare(rl_runner *r)
{
    send_order(r, do_prepare, NULL, 0);
}

void rl_runner_begin(rl_runner *r)
{
    send_order(r, do_begin, NULL, 0);
}

void rl_runner_serve(rl_runner *r, const rl_bound *bounds, unsigned n)
{
    send_order(r, do_serve, bounds, n);
}

void rl_runner_stage(rl_runner *r, rl_change what, unsigned attempt)
{
    struct order *o = rl_calloc(1, sizeof(*o));

    o->runner = r;
    o->fn = do_stage;
    o->change = what;
    o->attempt = attempt;
    post(o);
}

void rl_runner_trouble(rl_runner *r, const char *words)
{
    struct order *o = rl_calloc(1, sizeof(*o));

    o->runner = r;
    o->words = rl_strdup(words);
    post(o);
}

void rl_runner_commit(rl_runner *r)
{
    send_order(r, do_commit, NULL, 0);
}

void rl_runner_discard(rl_runner *r)
{
    send_order(r, do_discard, NULL, 0);
}

void rl_runner_drain(rl_runner *r)
{
    send_order(r, do_drain, NULL, 0);
}

void rl_runner_abort(rl_runner *r)
{
    send_order(r, do_abort, NULL, 0);
}

bool rl_runner_post(rl_runner *r, rl_post *post)
{
    return rl_loop_post(&r->worker.loop, post);
}

rl_task *rl_runner_task(rl_runner *r, const char *name, rl_task_ended_fn *ended, void *arg)
{
    if (r->ended || !r->loaded || r->draining)
        return NULL;
    return rl_script_task(&r->script, name, ended, arg);
}

rl_worker *rl_runner_worker(rl_runner *r)
{
    return r->ended ? NULL : &r->worker;
}

int rl_runner_start(rl_runner **out, const rl_reporter *reporter, rl_crew *crew,
                    const rl_settings *settings, rl_err *err)
{
    rl_runner *r = rl_calloc(1, sizeof(*r));
    const rl_vm_opts vm = {
        .memory_limit = (size_t)(settings->memory_limit * 1048576),
        .gc_stress = getenv("RILLE_GC_STRESS") != NULL,
    };
    const uv_thread_options_t options = {.flags = UV_THREAD_HAS_STACK_SIZE,
                                         .stack_size = STACK_BYTES};

    r->reporter = *reporter;
    r->settings = settings;
    r->script.program = LUA_NOREF;
    /* Made here, so that orders have a loop to go to; used by the thread alone. */
    int rc = rl_worker_init(&r->worker, crew, reporter->worker, &vm, err);
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
