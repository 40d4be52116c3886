#include "admin/admin.h"

#include "base/exposition.h"
#include "net/http_conn.h"

#include <string.h>
#include <unistd.h>

enum { PATIENCE_MS = 1000 }; /* for a worker to answer */

static const rl_server_limits server_limits = {
    .max_head = 16 * 1024,
    .max_target = 2048,
    .max_fields = 100,
    .request_timeout = 10000,
    .keepalive_timeout = 75000,
    .close_timeout = 1000,
    .send_timeout = 10000,
    .min_send_rate = 100,
    .write_high_water = RL_CONN_HIGH_WATER,
    .max_connections = 64,
};

/* Of /publish, and of all else, where nobody reads a body. */
enum { OF_PUBLISH, OF_OTHERS };

static const rl_limits limits[] = {
    [OF_PUBLISH] =
        {
            .max_body = RL_PUBLISH_MAX,
            .body_timeout = 5000,
            .min_body_rate = 100,
            .pong_timeout = 1000,
        },
    [OF_OTHERS] =
        {
            .max_body = 1024,
            .body_timeout = 5000,
            .min_body_rate = 100,
            .pong_timeout = 1000,
        },
};

/* A request whose answer is with the workers. */
struct pending {
    rl_admin *admin;
    rl_http_conn *hc; /* NULL: the peer has left */
    rl_list link;
};

static void respond(rl_http_conn *hc, int status, const char *type, rl_str body)
{
    rl_buf headers = {0};

    rl_buf_printf(&headers, "content-type: %s\r\ncache-control: no-store\r\n%s", type,
                  status == 405 ? "allow: GET, HEAD\r\n" : "");
    rl_http_conn_respond(hc, status, rl_buf_str(&headers), body);
    rl_buf_fini(&headers);
}

static void say(rl_http_conn *hc, int status, const char *text)
{
    respond(hc, status, "text/plain; charset=utf-8", rl_str_of(text));
}

/* Asking the workers */

static void on_body(void *owner)
{
}

static void on_drain(void *owner)
{
}

static void on_gone(void *owner)
{
    struct pending *p = owner;

    p->hc = NULL;
}

static void ask(rl_admin *a, rl_http_conn *hc, const rl_question *question)
{
    static const rl_http_conn_events events = {on_body, on_drain, on_gone, NULL};
    struct pending *p = rl_calloc(1, sizeof(*p));

    p->admin = a;
    p->hc = hc;
    rl_list_init(&p->link);
    rl_list_push(&a->pending, &p->link);
    rl_http_conn_own(hc, &events, p);
    rl_workers_ask(a->workers, question, p);
}

/* Whom to answer, NULL if nobody waits any more; p is gone. */
static rl_http_conn *settle(struct pending *p)
{
    rl_http_conn *hc = p->hc;

    rl_list_remove(&p->link);
    rl_free(p);
    return hc;
}

/* /healthz */

static void look_alive(rl_worker *w, void *answer)
{
    *(bool *)answer = true;
}

static void on_alive(void *arg, const rl_reply *replies, unsigned n)
{
    rl_http_conn *hc = settle(arg);
    rl_buf text = {0};
    unsigned silent = 0;

    for (unsigned i = 0; i < n; i++)
        if (replies[i].silent)
            rl_buf_printf(&text, "%s%u", silent++ ? ", " : " ", i);
    if (hc && silent) {
        char *body = rl_sprintf("no answer from worker%s%s within %g s\n", silent > 1 ? "s" : "",
                                rl_buf_cstr(&text), PATIENCE_MS / 1000.0);
        say(hc, 503, body);
        rl_free(body);
    } else if (hc) {
        say(hc, 200, "ok\n");
    }
    rl_buf_fini(&text);
}

static const rl_question alive = {
    .look = look_alive, .size = sizeof(bool), .patience = PATIENCE_MS, .told = on_alive};

/* /metrics */

static void look_closely(rl_worker *w, void *answer)
{
    rl_figures_of(w, answer);
}

static void forget_figures(void *answer)
{
    rl_figures_fini(answer);
}

static void on_figures(void *arg, const rl_reply *replies, unsigned n)
{
    const rl_process_figures *process = ((struct pending *)arg)->admin->process;
    rl_http_conn *hc = settle(arg);

    if (!hc)
        return;
    rl_figures *all = rl_calloc(n ? n : 1, sizeof(*all)); /* what they hold stays the replies' */
    rl_buf page = {0};
    for (unsigned i = 0; i < n; i++)
        if (replies[i].answer)
            all[i] = *(const rl_figures *)replies[i].answer;
    rl_metrics_write(&page, process, all, n);
    respond(hc, 200, RL_EXPOSITION_TYPE, rl_buf_str(&page));
    rl_buf_fini(&page);
    rl_free(all);
}

static const rl_question figures = {.look = look_closely,
                                    .size = sizeof(rl_figures),
                                    .patience = PATIENCE_MS,
                                    .told = on_figures,
                                    .drop = forget_figures};

/* Requests */

static void answer_ready(const rl_admin *a, rl_http_conn *hc)
{
    if (!a->process->unready) {
        say(hc, 200, "ready\n");
        return;
    }
    char *text = rl_sprintf("%s\n", a->process->unready);
    say(hc, 503, text);
    rl_free(text);
}

static rl_str path_of(const rl_http_head *head)
{
    rl_str target = rl_http_target(head);
    const char *query = target.n ? memchr(target.p, '?', target.n) : NULL;

    return query ? (rl_str){target.p, (size_t)(query - target.p)} : target;
}

static void take_message(rl_admin *a, rl_http_conn *hc, rl_str method)
{
    if (rl_str_eq(method, RL_STR("POST")))
        rl_publish(&a->publisher, hc);
    else
        rl_http_conn_respond(hc, 405, RL_STR("allow: POST\r\n"), RL_STR("POST\n"));
}

static void on_request(rl_server *s, rl_http_conn *hc)
{
    rl_admin *a = RL_CONTAINER_OF(s, rl_admin, server);
    const rl_http_head *head = rl_http_conn_head(hc);
    rl_str path = path_of(head), method = rl_http_method(head);
    bool metrics = rl_str_eq(path, RL_STR("/metrics"));
    bool health = rl_str_eq(path, RL_STR("/healthz"));

    if (rl_str_eq(path, RL_STR("/publish"))) {
        take_message(a, hc, method);
        return;
    }
    if (!rl_http_conn_limit(hc, a->places[OF_OTHERS]))
        say(hc, 413, "the body is too long\n");
    else if (!metrics && !health && !rl_str_eq(path, RL_STR("/readyz")))
        say(hc, 404, "here are /metrics, /healthz, /readyz and /publish\n");
    else if (!rl_str_eq(method, RL_STR("GET")) && !rl_str_eq(method, RL_STR("HEAD")))
        say(hc, 405, "GET or HEAD\n");
    else if (metrics)
        ask(a, hc, &figures);
    else if (health)
        ask(a, hc, &alive);
    else
        answer_ready(a, hc);
}

static void on_accept(void *arg, int fd, const rl_bound *from)
{
    rl_admin *a = arg;

    rl_server_accept(&a->server, fd, from);
}

/* Opening and closing */

static int listen_all(rl_admin *a, rl_loop *main, const rl_bindings *sockets, rl_err *err)
{
    int rc = 0;

    for (unsigned i = 0; i < sockets->n; i++) {
        const rl_bound *b = &sockets->list[i].bound;
        if (rc == 0)
            rc = rl_bound_listen(b, err);
        if (rc < 0) {
            close(b->fd);
            continue;
        }
        rc = rl_listener_open(&a->listeners[a->nlisteners], main, b, on_accept, a, err);
        a->nlisteners += rc == 0;
    }
    return rc;
}

int rl_admin_open(rl_admin *a, rl_loop *main, const rl_bindings *sockets, rl_workers *workers,
                  const rl_process_figures *process, rl_err *err)
{
    static const rl_server_events events = {.on_request = on_request};

    *a = (rl_admin){.workers = workers, .process = process};
    int rc = rl_conns_init(&a->conns, main);
    if (rc < 0) {
        for (unsigned i = 0; i < sockets->n; i++)
            close(sockets->list[i].bound.fd);
        return rl_err_set(err, rc, "admin: no poller: %s", uv_strerror(rc));
    }
    rl_server_init(&a->server, &a->conns, &events);
    rl_server_configure(&a->server, &server_limits, limits, RL_COUNT(limits), a->places);
    rl_publisher_init(&a->publisher, workers, main);
    rl_list_init(&a->pending);
    a->open = true;
    return listen_all(a, main, sockets, err);
}

void rl_admin_close(rl_admin *a)
{
    rl_list *it;

    if (!a->open)
        return;
    while (a->nlisteners)
        rl_listener_close(a->listeners[--a->nlisteners]);
    rl_server_abort(&a->server);
    rl_conns_abort(&a->conns);
    while (a->conns.count)
        uv_run(&a->conns.loop->uv, UV_RUN_ONCE);
    while ((it = rl_list_pop(&a->pending)))
        rl_free(RL_LIST_ENTRY(it, struct pending, link));
    rl_publisher_close(&a->publisher);
    rl_server_fini(&a->server);
    rl_conns_fini(&a->conns);
    a->open = false;
}
