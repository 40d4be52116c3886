#include "app/program.h"

#include "app/runner.h"
#include "db/db.h"
#include "io/listener.h"
#include "io/watch.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { DEAF_MS = 3000 }; /* for the worker to end once it was told to do so at once */

struct program {
    const rl_settings *settings;
    rl_loop loop;
    rl_runner *runner;
    rl_watch *watch;
    uv_signal_t signals[3];
    uv_timer_t patience; /* after a drain began */
    char *urls[RL_MAX_ADDRESSES];
    unsigned nurls;
    bool draining, aborted;
    int status;
};

static void begin_drain(struct program *p);

static void complain(const char *text)
{
    fprintf(stderr, "rille: %s\n", text);
}

/* Listening */

static int bind_all(struct program *p, const rl_loaded *loaded, rl_bound *bounds, unsigned *n,
                    rl_err *err)
{
    const rl_settings *s = p->settings;
    const char *addresses[RL_MAX_ADDRESSES] = {"127.0.0.1:8000"};
    unsigned count = 1;

    if (s->nlisten || loaded->nlisten)
        count = 0;
    for (unsigned i = 0; i < s->nlisten; i++)
        addresses[count++] = s->listen[i];
    for (size_t i = 0; !s->nlisten && i < loaded->nlisten && i < RL_MAX_ADDRESSES; i++)
        addresses[count++] = loaded->listen[i];

    for (*n = 0; *n < count; (*n)++) {
        int rc = rl_bind_address(addresses[*n], &bounds[*n], err);
        if (rc < 0)
            return rc;
        p->urls[p->nurls++] = rl_bound_url(&bounds[*n]);
        if (bounds[*n].tls) {
            close(bounds[*n].fd);
            return rl_err_set(err, RL_EUNSUPPORTED, "%s: TLS is not done yet", addresses[*n]);
        }
    }
    return 0;
}

static void on_loaded(void *arg, const rl_loaded *loaded)
{
    struct program *p = arg;
    rl_bound bounds[RL_MAX_ADDRESSES];
    unsigned n;
    rl_err err;

    if (p->watch)
        rl_watch_set(p->watch, loaded->files, loaded->nfiles);
    if (bind_all(p, loaded, bounds, &n, &err) < 0) {
        while (n)
            close(bounds[--n].fd);
        complain(err.msg);
        p->status = 1;
        rl_runner_abort(p->runner);
        return;
    }
    rl_runner_serve(p->runner, bounds, n);
}

static void on_serving(void *arg)
{
    struct program *p = arg;

    for (unsigned i = 0; i < p->nurls; i++)
        fprintf(stderr, "rille: listening on %s\n", p->urls[i]);
}

/* Reloading */

static void on_change(void *arg)
{
    struct program *p = arg;

    rl_runner_reload(p->runner);
}

static void on_reloaded(void *arg, const rl_loaded *loaded)
{
    struct program *p = arg;

    if (p->watch)
        rl_watch_set(p->watch, loaded->files, loaded->nfiles);
    rl_info("reloaded: generation %u serves", loaded->generation);
}

static void on_reload_failed(void *arg, const char *text)
{
    rl_error("the reload failed, the old code serves on: %s", text);
}

/* Ending */

static void on_printed(void *arg, const char *text)
{
    puts(text);
    fflush(stdout);
}

static void on_failed(void *arg, const char *text)
{
    complain(text);
}

static void on_stopped(void *arg, int status)
{
    struct program *p = arg;

    if (!p->status)
        p->status = status;
    rl_loop_stop(&p->loop);
}

/* A script that never gives the worker's thread back cannot be stopped, only left behind. */
static void on_deaf(uv_timer_t *timer)
{
    complain("a script does not let go of its thread: exiting without it");
    _exit(1);
}

static void stop_at_once(struct program *p)
{
    if (p->aborted)
        return;
    p->aborted = true;
    uv_timer_start(&p->patience, on_deaf, DEAF_MS, 0);
    rl_runner_abort(p->runner);
}

static void on_out_of_patience(uv_timer_t *timer)
{
    struct program *p = RL_CONTAINER_OF(timer, struct program, patience);

    rl_warn("the drain took longer than %g s: stopping at once", p->settings->drain_timeout);
    stop_at_once(p);
}

static void begin_drain(struct program *p)
{
    p->draining = true;
    rl_info("stopping: connections are being closed");
    uv_timer_start(&p->patience, on_out_of_patience, (uint64_t)(p->settings->drain_timeout * 1000),
                   0);
    rl_runner_drain(p->runner);
}

static void on_signal(uv_signal_t *h, int signum)
{
    struct program *p = h->data;

    if (signum == SIGHUP)
        rl_runner_reload(p->runner);
    else if (p->draining)
        stop_at_once(p);
    else
        begin_drain(p);
}

static void open_signals(struct program *p)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};

    for (size_t i = 0; i < RL_COUNT(numbers); i++) {
        uv_signal_init(&p->loop.uv, &p->signals[i]);
        p->signals[i].data = p;
        uv_signal_start(&p->signals[i], on_signal, numbers[i]);
    }
}

/* One more SIGTERM does not turn a clean stop into a violent one while the handlers go. */
static void ignore_signals(void)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
}

/* As many connections as the system will let us have. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
        rl_debug("file descriptors: %llu", (unsigned long long)limit.rlim_cur);
}

int rl_program_run(const rl_settings *settings)
{
    static const rl_runner_events events = {
        .on_loaded = on_loaded,
        .on_serving = on_serving,
        .on_reloaded = on_reloaded,
        .on_reload_failed = on_reload_failed,
        .on_printed = on_printed,
        .on_failed = on_failed,
        .on_stopped = on_stopped,
    };
    struct program p = {.settings = settings};
    rl_err err;

    signal(SIGPIPE, SIG_IGN);
    rl_db_settle_environment();
    raise_descriptor_limit();
    int rc = rl_loop_init(&p.loop);
    if (rc < 0) {
        complain(uv_strerror(rc));
        return 1;
    }
    uv_timer_init(&p.loop.uv, &p.patience);
    open_signals(&p);
    if (settings->watch || settings->command == RL_CMD_DEV)
        p.watch = rl_watch_open(&p.loop, on_change, &p);

    if (rl_runner_start(&p.runner, &p.loop, settings, &events, &p, &err) < 0) {
        complain(err.msg);
        p.status = 1;
    } else {
        rl_loop_run(&p.loop);
        rl_runner_free(p.runner);
    }

    ignore_signals();
    rl_watch_close(p.watch);
    uv_close((uv_handle_t *)&p.patience, NULL);
    for (size_t i = 0; i < RL_COUNT(p.signals); i++)
        uv_close((uv_handle_t *)&p.signals[i], NULL);
    while (p.nurls)
        rl_free(p.urls[--p.nurls]);
    rl_loop_fini(&p.loop);
    return p.status;
}
