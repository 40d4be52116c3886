/* upgrade.c - see the header.
 *
 *   IDLE --> STARTING --READY--> SETTLING --> PACKING --> GIVING --SERVING--> GIVEN
 *     '---------'  it failed        '  it has gone: thaw     '-- it has gone: so have those
 *                                                                connections, and we serve on */
#include "control/upgrade.h"

#include "base/log.h"
#include "control/giving.h"
#include "core/moving.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SETTLE_MS =
        2000, /* for handlers under way to end: then who is not at rest stays, and is drained */
    LOOK_MS = 2,
};

enum state { IDLE, STARTING, SETTLING, PACKING, GIVING, GIVEN };

struct rl_upgrade {
    rl_loop *main;
    rl_workers *workers;
    rl_upgrade_events events;
    void *arg;
    rl_estate estate;
    enum state state;
    int link; /* -1: none */
    uv_poll_t poll;
    uv_timer_t timer;
    bool polling;     /* its handle is open */
    rl_list children; /* that have not ended, those that failed included */
    int pid;          /* of the last */
    bool closed;
    unsigned handles;
    rl_change_told *told;
    void *told_arg;
    uint64_t began; /* settling; ms, loop's clock */
    rl_settled last;
    unsigned given;
    char why[256]; /* what the new one said of its failure */
    char buffer[RL_LINK_MAX];
};

static void release(rl_upgrade *u)
{
    if (--u->handles == 0 && u->closed)
        rl_free(u);
}

static void on_timer_closed(uv_handle_t *h)
{
    release(RL_CONTAINER_OF((uv_timer_t *)h, rl_upgrade, timer));
}

static void on_poll_closed(uv_handle_t *h)
{
    rl_upgrade *u = RL_CONTAINER_OF((uv_poll_t *)h, rl_upgrade, poll);

    u->polling = false;
    release(u);
}

/* A process that was started, until it ends. */
struct child {
    uv_process_t process;
    rl_list link;
    rl_upgrade *upgrade;
};

static void on_child_closed(uv_handle_t *h)
{
    struct child *c = RL_CONTAINER_OF((uv_process_t *)h, struct child, process);
    rl_upgrade *u = c->upgrade;

    rl_free(c);
    release(u);
}

static void forget_child(struct child *c)
{
    rl_list_remove(&c->link);
    uv_close((uv_handle_t *)&c->process, on_child_closed);
}

static void tell(rl_upgrade *u, bool done, const char *text)
{
    rl_change_told *told = u->told;

    u->told = NULL;
    if (told)
        told(u->told_arg, done, text);
}

static void unlink_peer(rl_upgrade *u)
{
    if (u->link < 0)
        return;
    uv_poll_stop(&u->poll);
    uv_close((uv_handle_t *)&u->poll, on_poll_closed);
    close(u->link);
    u->link = -1;
}

/* Asking the workers */

static void look_thaw(rl_worker *w, void *answer)
{
    rl_worker_thaw(w);
}

static void on_thawed(void *arg, const rl_reply *replies, unsigned n)
{
}

static void thaw(rl_upgrade *u)
{
    static const rl_question question = {.look = look_thaw, .size = 1, .told = on_thawed};

    rl_workers_ask(u->workers, &question, u);
}

/* It will not take over. */
static void fail(rl_upgrade *u, const char *why)
{
    enum state was = u->state;

    u->state = IDLE;
    uv_timer_stop(&u->timer);
    unlink_peer(u);
    if (was == SETTLING || was == GIVING)
        thaw(u);
    rl_error("the upgrade failed, this process serves on: %s", why);
    tell(u, false, why);
}

/* Packing: who can move leaves. */

struct packed {
    rl_list list;
    bool there;
};

static void look_pack(rl_worker *w, void *answer)
{
    struct packed *p = answer;

    rl_list_init(&p->list);
    p->there = true;
    rl_worker_pack(w, &p->list);
}

static void drop_packed(void *answer)
{
    struct packed *p = answer;
    rl_list *it;

    while (p->there && (it = rl_list_pop(&p->list)))
        rl_moving_free(RL_LIST_ENTRY(it, rl_moving, link));
}

static int give(rl_upgrade *u, unsigned worker, const struct packed *p)
{
    return rl_give_connections(u->link, worker, &p->list, &u->given);
}

static void on_packed(void *arg, const rl_reply *replies, unsigned n)
{
    rl_upgrade *u = arg;
    int rc = 0;

    u->state = GIVING;
    for (unsigned i = 0; rc == 0 && i < n; i++)
        if (replies[i].answer)
            rc = give(u, i, replies[i].answer);
    if (rc == 0)
        rc = rl_link_send(u->link, RL_LINK_THAT_IS_ALL, RL_STR(""), NULL, 0);
    if (rc < 0)
        fail(u, "the new process has gone, with connections that were given to it");
}

static void pack(rl_upgrade *u)
{
    static const rl_question question = {
        .look = look_pack, .size = sizeof(struct packed), .told = on_packed, .drop = drop_packed};

    u->state = PACKING;
    rl_workers_ask(u->workers, &question, u);
}

/* Settling: nobody has anything under way, twice in a row, and no message went in between. */

static void look_settle(rl_worker *w, void *answer)
{
    rl_worker_settle(w, answer);
}

static void on_looked(void *arg, const rl_reply *replies, unsigned n)
{
    rl_upgrade *u = arg;
    rl_settled sum = {0};

    if (u->state != SETTLING)
        return;
    for (unsigned i = 0; i < n; i++) {
        const rl_settled *one = replies[i].answer;
        if (one) {
            sum.unsettled += one->unsettled;
            sum.messages += one->messages;
        }
    }
    bool quiet = !sum.unsettled && !u->last.unsettled && sum.messages == u->last.messages;
    bool over = rl_loop_now(u->main) - u->began >= SETTLE_MS;
    u->last = sum;
    if (!quiet && !over) {
        uv_timer_again(&u->timer);
        return;
    }
    if (sum.unsettled)
        rl_warn("the upgrade goes on without %u who have something under way", sum.unsettled);
    pack(u);
}

static void settle(uv_timer_t *timer)
{
    static const rl_question question = {
        .look = look_settle, .size = sizeof(rl_settled), .patience = 1000, .told = on_looked};
    rl_upgrade *u = RL_CONTAINER_OF(timer, rl_upgrade, timer);

    uv_timer_stop(timer);
    if (u->state == SETTLING)
        rl_workers_ask(u->workers, &question, u);
}

static void begin_to_settle(rl_upgrade *u)
{
    u->state = SETTLING;
    u->began = rl_loop_now(u->main);
    u->last = (rl_settled){.unsettled = 1};
    uv_timer_start(&u->timer, settle, 0, LOOK_MS);
}

/* What the new process says */

static void give_sockets(rl_upgrade *u)
{
    if (rl_give_sockets(u->link, &u->estate, rl_workers_count(u->workers)) < 0)
        fail(u, "the new process has gone before it was ready: see the log");
}

static void finish(rl_upgrade *u)
{
    int pid = u->pid;
    uv_update_time(&u->main->uv);
    char *text = rl_sprintf("process %d serves, with %u connections of this one, which waited for "
                            "%llu ms",
                            pid, u->given, (unsigned long long)(rl_loop_now(u->main) - u->began));

    u->state = GIVEN;
    rl_info("%s", text);
    unlink_peer(u);
    tell(u, true, text);
    u->events.handed_over(u->arg, pid);
    rl_free(text);
}

static void on_packet(rl_upgrade *u, const rl_link_packet *p)
{
    for (unsigned i = 0; i < p->nfds; i++)
        close(p->fds[i]);
    if (p->kind == RL_LINK_HELLO && u->state == STARTING)
        give_sockets(u);
    else if (p->kind == RL_LINK_READY && u->state == STARTING)
        begin_to_settle(u);
    else if (p->kind == RL_LINK_SERVING && u->state == GIVING)
        finish(u);
    else if (p->kind == RL_LINK_FAILED)
        snprintf(u->why, sizeof(u->why), "%.*s", (int)p->bytes.n, p->bytes.p);
}

static void on_link(uv_poll_t *poll, int status, int events)
{
    rl_upgrade *u = RL_CONTAINER_OF(poll, rl_upgrade, poll);
    rl_link_packet p;
    int rc;

    while (u->link >= 0 && (rc = rl_link_receive(u->link, false, u->buffer, &p)) != 0) {
        if (rc > 0) {
            on_packet(u, &p);
            continue;
        }
        if (u->state != PACKING) /* else sending will fail */
            fail(u, u->why[0] ? u->why : "the new process has ended before it served: see the log");
        return;
    }
}

/* Starting it */

static void on_ended(uv_process_t *process, int64_t status, int signal)
{
    forget_child(RL_CONTAINER_OF(process, struct child, process));
}

/* The file that we were started from; a new one may lie in its place. */
static const char *own_program(char path[PATH_MAX])
{
    static const char gone[] = " (deleted)";
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);

    if (n < 0)
        return NULL;
    path[n] = '\0';
    if ((size_t)n > sizeof(gone) && strcmp(path + n - (sizeof(gone) - 1), gone) == 0)
        path[(size_t)n - (sizeof(gone) - 1)] = '\0';
    return path;
}

/* Ours, with the link's number, and without what systemd meant for us alone. */
static char **environment(void)
{
    extern char **environ;
    size_t n = 0, kept = 0;

    while (environ[n])
        n++;
    char **all = rl_calloc(n + 2, sizeof(*all));
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "WATCHDOG_PID=", 13) != 0 && strncmp(environ[i], "LISTEN_", 7) != 0)
            all[kept++] = environ[i];
    all[kept] = (char *)(uintptr_t)RL_LINK_VARIABLE "=3";
    return all;
}

static int spawn(rl_upgrade *u, const char *program, int link)
{
    uv_stdio_container_t stdio[4];
    char **env = environment();
    struct child *c = rl_calloc(1, sizeof(*c));

    for (int i = 0; i < 4; i++) {
        stdio[i].flags = UV_INHERIT_FD;
        stdio[i].data.fd = i < 3 ? i : link;
    }
    const uv_process_options_t options = {.exit_cb = on_ended,
                                          .file = program,
                                          .args = (char **)(uintptr_t)u->estate.argv,
                                          .env = env,
                                          .stdio = stdio,
                                          .stdio_count = 4};
    int rc = uv_spawn(&u->main->uv, &c->process, &options);
    rl_free(env);
    c->upgrade = u;
    rl_list_init(&c->link);
    rl_list_push(&u->children, &c->link);
    u->handles++;
    u->pid = c->process.pid;
    if (rc < 0)
        forget_child(c);
    return rc;
}

static void refuse(rl_change_told *told, void *arg, const char *why)
{
    told(arg, false, why);
}

void rl_upgrade_begin(rl_upgrade *u, const rl_estate *estate, const char *program,
                      rl_change_told *told, void *arg)
{
    char own[PATH_MAX];
    int fds[2];
    rl_err err;

    if (u->state != IDLE || u->polling) {
        refuse(told, arg, "an upgrade is under way");
        return;
    }
    if (!program || !*program)
        program = own_program(own);
    if (!program || rl_link_pair(fds, &err) < 0) {
        refuse(told, arg, program ? err.msg : "which program file? want --program FILE");
        return;
    }
    u->estate = *estate;
    u->told = told;
    u->told_arg = arg;
    u->given = 0;
    u->why[0] = '\0';
    u->state = STARTING;
    u->link = fds[0];
    uv_poll_init(&u->main->uv, &u->poll, u->link);
    u->polling = true;
    u->handles++;
    uv_poll_start(&u->poll, UV_READABLE, on_link);
    int rc = spawn(u, program, fds[1]);
    close(fds[1]);
    if (rc < 0) {
        char *why = rl_sprintf("cannot start %s: %s", program, uv_strerror(rc));
        fail(u, why);
        rl_free(why);
    }
}

void rl_upgrade_forget(rl_upgrade *u, void *arg)
{
    if (u && u->told_arg == arg)
        u->told = NULL;
}

rl_upgrade *rl_upgrade_open(rl_loop *main, rl_workers *workers, const rl_upgrade_events *events,
                            void *arg)
{
    rl_upgrade *u = rl_calloc(1, sizeof(*u));

    u->main = main;
    u->workers = workers;
    u->events = *events;
    u->arg = arg;
    u->link = -1;
    rl_list_init(&u->children);
    uv_timer_init(&main->uv, &u->timer);
    u->handles = 1;
    return u;
}

void rl_upgrade_close(rl_upgrade *u)
{
    if (!u)
        return;
    u->closed = true;
    u->state = IDLE;
    u->told = NULL;
    unlink_peer(u);
    while (!rl_list_empty(&u->children))
        forget_child(RL_LIST_ENTRY(rl_list_first(&u->children), struct child, link));
    uv_close((uv_handle_t *)&u->timer, on_timer_closed);
}
