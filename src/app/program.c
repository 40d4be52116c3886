#include "app/program.h"

#include "admin/admin.h"
#include "control/control.h"
#include "control/control_path.h"
#include "app/doors.h"
#include "control/inherit.h"
#include "host/probation.h"
#include "app/pulse.h"
#include "control/shell.h"
#include "app/systemd.h"
#include "control/upgrade.h"
#include "host/workers.h"
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
    rl_workers *workers;
    rl_watch *watch;
    rl_doors doors;
    uv_signal_t signals[3];
    uv_timer_t patience; /* after a drain began */
    rl_pulse pulse;
    rl_probation probation;
    char why[200]; /* it has the code before asked for */
    rl_admin admin;
    rl_control control;
    char *control_at; /* that was asked for: a flag's, or the script's; NULL: nobody did */
    rl_process_figures figures; /* for admin */
    rl_shell shell;
    rl_inherit inherit;
    rl_upgrade *upgrade;
    bool given_away; /* to a process that took over */
    bool draining, aborted;
    int status;
};

static void complain(const char *text)
{
    fprintf(stderr, "rille: %s\n", text);
}

/* The same, also to the process that waits for us to take over. */
static void complain_of(struct program *p, const char *text)
{
    complain(text);
    rl_inherit_tell_failed(&p->inherit, text);
}

/* From here on it can be asked whether it is ready. */
static int open_admin(struct program *p, rl_err *err)
{
    rl_bindings *bs = &p->doors.admin;

    if (!bs->n)
        return 0;
    p->figures.code = rl_workers_code(p->workers);
    p->figures.history = rl_workers_crew(p->workers)->history;
    p->figures.presence = rl_workers_crew(p->workers)->presence;
    int rc = rl_admin_open(&p->admin, &p->loop, bs, p->workers, &p->figures, err);
    p->doors.admin_given = true;
    for (unsigned i = 0; rc == 0 && i < bs->n; i++) {
        char *url = rl_bound_url(&bs->list[i].bound);
        fprintf(stderr, "rille: admin on %s\n", url);
        rl_free(url);
    }
    return rc;
}

/* Where nobody asked for it, its lack is no reason not to serve. */
static int open_control(struct program *p, rl_err *err)
{
    const rl_settings *s = p->settings;
    const rl_status facts = {.settings = s,
                             .process = &p->figures,
                             .code = rl_workers_code(p->workers),
                             .urls = p->doors.urls,
                             .nurls = p->doors.nurls};
    char *path = p->control_at ? rl_strdup(p->control_at) : NULL;

    if (s->command == RL_CMD_SHELL)
        return rl_control_open(&p->control, &p->loop, p->workers, &facts, NULL, err);
    if (!path && rl_control_path(&path, s->app, err) < 0) {
        rl_info("no control socket: %s", err->msg);
        return 0;
    }
    bool off = strcmp(path, "off") == 0;
    int rc = off ? 0 : rl_control_open(&p->control, &p->loop, p->workers, &facts, path, err);
    if (rc == 0 && !off && p->control_at)
        p->control.link = rl_control_link(path, s->app);
    if (rc < 0 && !p->control_at) {
        rl_info("no control socket: %s", err->msg);
        rc = 0;
    }
    rl_free(path);
    return rc;
}

static int open_both(struct program *p, rl_err *err)
{
    int rc = open_admin(p, err);

    return rc < 0 ? rc : open_control(p, err);
}

static unsigned count_workers(const struct program *p, const rl_loaded *loaded)
{
    unsigned n = loaded->workers;

    if (p->settings->workers)
        n = p->settings->workers;
    else if (p->settings->command == RL_CMD_DEV || p->settings->command == RL_CMD_SHELL)
        n = 1;
    else if (!n)
        n = uv_available_parallelism();
    return n < RL_MAX_WORKERS ? n : RL_MAX_WORKERS;
}

static int bind_everything(struct program *p, const rl_loaded *loaded, rl_err *err)
{
    rl_doors *d = &p->doors;
    int rc = rl_inherit_is_on(&p->inherit)
                 ? rl_inherit_sockets(&p->inherit, &d->public, &d->admin, &p->control.bindings, err)
                 : rl_doors_bind(d, p->settings, loaded, err);

    return rc == 0 ? rl_doors_dress(d, p->settings, loaded, err) : rc;
}

/* Addresses first: whoever starts a second server by mistake learns it soon. */
static unsigned on_loaded(void *arg, const rl_loaded *loaded)
{
    struct program *p = arg;
    const char *control = p->settings->control ? p->settings->control : loaded->control;
    rl_err err;

    p->control_at = control ? rl_strdup(control) : NULL;
    if (bind_everything(p, loaded, &err) < 0 ||
        (!rl_inherit_is_on(&p->inherit) && open_both(p, &err) < 0)) {
        complain_of(p, err.msg);
        return 0;
    }
    return rl_inherit_is_on(&p->inherit) ? p->inherit.count : count_workers(p, loaded);
}

static void on_files(void *arg, char *const *files, size_t n)
{
    struct program *p = arg;

    if (p->watch)
        rl_watch_set(p->watch, files, n);
}

static void on_used(void *arg, const char *file, uint64_t sum)
{
    struct program *p = arg;

    if (p->watch)
        rl_watch_add(p->watch, file, sum);
}

static void begin_to_serve(struct program *p)
{
    rl_workers_serve(p->workers, p->doors.sockets, p->doors.public.n);
    p->doors.given = true;
}

static void give_up(struct program *p, const char *why)
{
    complain_of(p, why);
    p->status = 1;
    rl_workers_abort(p->workers);
}

/* Everything of the process that we take over from is ours. */
static void on_inherited(void *arg)
{
    struct program *p = arg;
    rl_err err;

    if (open_both(p, &err) < 0)
        complain(err.msg); /* who is connected matters more */
    begin_to_serve(p);
}

static void on_testator_gone(void *arg)
{
    give_up(arg, "the process that was to be replaced has gone, or serves on");
}

static void on_ready(void *arg)
{
    struct program *p = arg;
    unsigned workers = rl_workers_count(p->workers);
    rl_err err;

    if (rl_inherit_is_on(&p->inherit)) {
        if (p->inherit.nsockets != workers * p->doors.public.n) {
            give_up(p, "another number of sockets than of workers was handed over");
            return;
        }
        rl_doors_take(&p->doors, p->inherit.sockets, p->inherit.nsockets);
        p->inherit.sockets = NULL;
        rl_inherit_await(&p->inherit, &p->loop, p->workers, on_inherited, on_testator_gone, p);
    } else if (rl_doors_spread(&p->doors, workers, &err) < 0) {
        give_up(p, err.msg);
    } else {
        begin_to_serve(p);
    }
}

/* Of rille shell. */
static void on_prompt_left(void *arg, int status)
{
    struct program *p = arg;

    p->status = status;
    rl_workers_drain(p->workers);
}

static void open_prompt(struct program *p)
{
    rl_err err;

    if (rl_shell_open(&p->shell, &p->loop, &p->control, on_prompt_left, p, &err) == 0)
        return;
    complain(err.msg);
    p->status = 1;
    rl_workers_abort(p->workers);
}

static void on_handed_over(void *arg, int pid);

/* Who takes over gets the control socket only if it has a name that was asked for: ours is named
 * after us. */
static void allow_upgrades(struct program *p)
{
    static const rl_upgrade_events events = {on_handed_over};
    const bool named = p->control_at != NULL;

    p->upgrade = rl_upgrade_open(&p->loop, p->workers, &events, p);
    p->control.upgrade = p->upgrade;
    p->control.estate = (rl_estate){.sockets = p->doors.sockets,
                                    .n = p->doors.public.n,
                                    .public = &p->doors.public,
                                    .admin = &p->doors.admin,
                                    .control = named ? &p->control.bindings : NULL,
                                    .argv = p->settings->argv};
}

static void on_serving(void *arg)
{
    struct program *p = arg;

    if (p->settings->command == RL_CMD_SHELL) {
        open_prompt(p);
        return;
    }
    if (!p->draining && !p->aborted)
        p->figures.unready = NULL;
    for (unsigned i = 0; i < p->doors.nurls; i++)
        fprintf(stderr, "rille: listening on %s\n", p->doors.urls[i]);
    if (p->settings->only_channels)
        fprintf(stderr, "rille: receiving from %s\n", p->settings->only_channels);
    rl_systemd_notify("READY=1\nMAINPID=%d\nSTATUS=serving", (int)getpid());
    rl_pulse_start(&p->pulse, p->workers);
    rl_inherit_tell_serving(&p->inherit);
    allow_upgrades(p);
}

/* Reloading */

static void on_change(void *arg)
{
    struct program *p = arg;

    rl_workers_change(p->workers, RL_CHANGE_LOAD, NULL, NULL);
}

static const char *const change_words[] = {
    [RL_CHANGE_LOAD] = "reload",
    [RL_CHANGE_ROLLBACK] = "rollback",
    [RL_CHANGE_PROMOTE] = "promotion",
};

static void on_changing(void *arg, rl_change what)
{
    rl_debug("a %s begins", change_words[what]);
    rl_systemd_reloading();
}

static void on_staged(void *arg, const rl_loaded *loaded)
{
    struct program *p = arg;

    rl_certificates_stage(&p->doors.certificates, loaded->tls, loaded->ntls);
}

static void on_changed(void *arg, rl_change what, const rl_loaded *serving)
{
    static const char *const done[] = {
        [RL_CHANGE_LOAD] = "reloaded",
        [RL_CHANGE_ROLLBACK] = "rolled back",
        [RL_CHANGE_PROMOTE] = "promoted",
    };
    struct program *p = arg;

    rl_certificates_reload(&p->doors.certificates, true);
    rl_info("%s: generation %u serves (%s)%s", done[what], serving->generation, serving->hash,
            serving->trial ? ", on trial" : "");
    rl_systemd_notify("READY=1\nSTATUS=serving, generation %u", serving->generation);
    rl_probation_begin(&p->probation, p->workers, serving);
}

static void on_change_failed(void *arg, rl_change what, const char *text)
{
    struct program *p = arg;

    rl_error("the %s failed, the old code serves on: %s", change_words[what], text);
    rl_systemd_notify("READY=1\nSTATUS=serving; the last %s failed, see the log",
                      change_words[what]);
    rl_certificates_reload(&p->doors.certificates, false);
}

static void on_taken_back(void *arg, bool done, const char *text)
{
    struct program *p = arg;

    p->figures.rolled_back_by_itself += done;
    if (done)
        snprintf(p->figures.why_rolled_back, sizeof(p->figures.why_rolled_back), "%s", p->why);
}

static void on_probation_failed(void *arg, unsigned generation, const char *why)
{
    struct program *p = arg;

    rl_error("rolling back: %s", why);
    snprintf(p->why, sizeof(p->why), "%s", why);
    rl_workers_take_back(p->workers, generation, on_taken_back, p);
}

/* Ending */

static void on_printed(void *arg, const char *text)
{
    puts(text);
    fflush(stdout);
}

static void on_failed(void *arg, const char *text)
{
    struct program *p = arg;

    p->figures.unready = "stopping";
    complain_of(p, text);
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
    p->figures.unready = "stopping";
    uv_timer_start(&p->patience, on_deaf, DEAF_MS, 0);
    rl_bindings_unlink(&p->doors.public);
    rl_workers_abort(p->workers);
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
    p->figures.unready = "draining";
    rl_info("stopping: connections are being closed");
    if (!p->given_away)
        rl_systemd_notify("STOPPING=1\nSTATUS=closing connections");
    uv_timer_start(&p->patience, on_out_of_patience, (uint64_t)(p->settings->drain_timeout * 1000),
                   0);
    rl_bindings_unlink(&p->doors.public);
    rl_workers_drain(p->workers);
}

/* Their files are another process's. */
static void disown(rl_bindings *bs)
{
    for (unsigned i = 0; i < bs->n; i++) {
        rl_free(bs->list[i].path);
        bs->list[i].path = NULL;
    }
}

static void on_handed_over(void *arg, int pid)
{
    struct program *p = arg;

    p->given_away = true;
    disown(&p->doors.public);
    disown(&p->doors.admin);
    if (p->control_at) {
        disown(&p->control.bindings);
        rl_control_unlink(&p->control);
    }
    rl_systemd_notify("MAINPID=%d", pid);
    if (!p->draining && !p->aborted)
        begin_drain(p);
}

static void on_signal(uv_signal_t *h, int signum)
{
    struct program *p = h->data;

    if (signum == SIGHUP)
        rl_workers_change(p->workers, RL_CHANGE_LOAD, NULL, NULL);
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
        if (numbers[i] == SIGTERM || p->settings->command != RL_CMD_SHELL)
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
    static const rl_workers_events events = {
        .on_loaded = on_loaded,
        .on_files = on_files,
        .on_used = on_used,
        .on_ready = on_ready,
        .on_serving = on_serving,
        .on_changing = on_changing,
        .on_staged = on_staged,
        .on_changed = on_changed,
        .on_change_failed = on_change_failed,
        .on_printed = on_printed,
        .on_failed = on_failed,
        .on_stopped = on_stopped,
    };
    struct program p = {.settings = settings, .figures.unready = "starting"};
    rl_err err;

    signal(SIGPIPE, SIG_IGN);
    rl_inherit_init(&p.inherit);
    rl_db_settle_environment();
    raise_descriptor_limit();
    int rc = rl_loop_init(&p.loop);
    if (rc < 0) {
        complain(uv_strerror(rc));
        return 1;
    }
    uv_timer_init(&p.loop.uv, &p.patience);
    rl_pulse_init(&p.pulse, &p.loop);
    rl_probation_init(&p.probation, &p.loop, on_probation_failed, &p);
    if (settings->command == RL_CMD_SHELL)
        rl_shell_prepare();
    open_signals(&p);
    if (rl_settings_watch(settings))
        p.watch = rl_watch_open(&p.loop, on_change, &p);

    if (rl_workers_open(&p.workers, &p.loop, settings, &events, &p, &err) < 0) {
        complain(err.msg);
        p.status = 1;
    } else {
        rl_loop_run(&p.loop);
        rl_bindings_unlink(&p.doors.admin);
        rl_admin_close(&p.admin);
        rl_control_close(&p.control);
        rl_shell_close(&p.shell);
        rl_workers_close(p.workers);
    }

    ignore_signals();
    rl_watch_close(p.watch);
    rl_pulse_close(&p.pulse);
    rl_upgrade_close(p.upgrade);
    rl_inherit_close(&p.inherit);
    rl_probation_close(&p.probation);
    uv_close((uv_handle_t *)&p.patience, NULL);
    for (size_t i = 0; i < RL_COUNT(p.signals); i++)
        uv_close((uv_handle_t *)&p.signals[i], NULL);
    rl_doors_close(&p.doors);
    rl_loop_fini(&p.loop);
    rl_free(p.control_at);
    return p.status;
}
