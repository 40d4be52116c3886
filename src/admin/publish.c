/* publish.c - a job belongs to the main thread until its body is complete, then to the worker until
 * it comes back. The connection is the main thread's all the time. */
#include "admin/publish.h"

#include "base/log.h"

struct job {
    rl_post post; /* there, and back */
    rl_publisher *publisher;
    rl_runner *runner; /* NULL: the body is not complete yet */
    rl_http_conn *hc;  /* NULL: nobody waits for the answer */
    rl_timeout late;
    rl_buf authorization, body;
    int status; /* the answer: 0, there is none */
    rl_buf answer;
};

static void free_job(struct job *j)
{
    rl_timeout_stop(&j->late);
    rl_buf_fini(&j->authorization);
    rl_buf_fini(&j->body);
    rl_buf_fini(&j->answer);
    rl_free(j);
}

static void respond(struct job *j, int status, rl_str body)
{
    rl_http_conn *hc = j->hc;
    rl_buf headers = {0};

    j->hc = NULL;
    rl_timeout_stop(&j->late);
    if (!hc)
        return;
    rl_buf_printf(&headers, "content-type: application/json\r\ncache-control: no-store\r\n%s",
                  status == 401 ? "www-authenticate: Bearer realm=\"rille\"\r\n" : "");
    rl_http_conn_respond(hc, status, rl_buf_str(&headers), body);
    rl_buf_fini(&headers);
}

/* Back on the main thread. */
static void on_back(rl_post *post)
{
    struct job *j = RL_CONTAINER_OF(post, struct job, post);

    if (j->status)
        respond(j, j->status, rl_buf_str(&j->answer));
    else
        respond(j, 503, RL_STR("{\"error\":\"the worker is stopping\"}\n"));
    free_job(j);
}

static void send_back(struct job *j)
{
    j->post.fn = on_back;
    /* The main loop outlives the workers. */
    RL_CHECK(rl_loop_post(j->publisher->main, &j->post));
}

/* On the worker's thread: [status, body], or what went wrong. */
static void on_published(rl_task *t, void *arg, lua_State *co, bool failed)
{
    struct job *j = arg;
    rl_buf text = {0};

    if (!failed) {
        size_t n;
        j->status = (int)lua_tointeger(co, 1);
        const char *body = lua_tolstring(co, 2, &n);
        rl_buf_add(&j->answer, body, n);
    } else if (!t->cancelled) {
        rl_vm_describe_failure(co, &text);
        rl_error("publishing failed: %s", rl_buf_cstr(&text));
        j->status = 500;
        rl_buf_add_str(&j->answer, RL_STR("{\"error\":\"it failed; see the log\"}\n"));
    }
    rl_buf_fini(&text);
    send_back(j);
}

static void on_job(rl_post *post)
{
    struct job *j = RL_CONTAINER_OF(post, struct job, post);
    rl_task *t = rl_runner_task(j->runner, "publish", on_published, j);

    if (!t) {
        send_back(j);
        return;
    }
    rl_vm_enter(t->vm);
    lua_pushlstring(rl_task_stack(t), rl_buf_str(&j->authorization).p, j->authorization.len);
    lua_pushlstring(rl_task_stack(t), rl_buf_str(&j->body).p, j->body.len);
    rl_vm_leave(t->vm);
    rl_task_queue(t, 2);
}

/* From the connection */

static void on_body(void *owner)
{
    struct job *j = owner;

    if (j->runner || !rl_http_conn_take_body(j->hc, &j->body))
        return;
    j->runner = rl_workers_runner(j->publisher->workers, j->publisher->turn++);
    j->post.fn = on_job;
    /* What came before a reload that shortens it keeps what it had, and who is behind it waits. */
    j->publisher->patience.after = rl_workers_publish_patience(j->publisher->workers);
    rl_timeout_start(&j->publisher->patience, &j->late);
    if (!rl_runner_post(j->runner, &j->post))
        send_back(j);
}

static void on_drain(void *owner)
{
}

static void on_gone(void *owner)
{
    struct job *j = owner;

    j->hc = NULL;
    rl_timeout_stop(&j->late);
    if (!j->runner)
        free_job(j);
}

static void on_late(rl_timeout *t)
{
    struct job *j = RL_CONTAINER_OF(t, struct job, late);

    respond(j, 504, RL_STR("{\"error\":\"no answer in time; it may be sent yet\"}\n"));
}

void rl_publish(rl_publisher *p, rl_http_conn *hc)
{
    static const rl_http_conn_events events = {on_body, on_drain, on_gone, NULL};
    const rl_http_head *head = rl_http_conn_head(hc);
    struct job *j = rl_calloc(1, sizeof(*j));

    j->publisher = p;
    j->hc = hc;
    rl_timeout_init(&j->late);
    for (size_t i = 0; i < rl_http_field_count(head); i++)
        if (rl_str_eq(rl_http_field_at(head, i).name, RL_STR("authorization")))
            rl_buf_add_str(&j->authorization, rl_http_field_at(head, i).value);
    rl_http_conn_own(hc, &events, j);
    on_body(j);
}

void rl_publisher_init(rl_publisher *p, rl_workers *workers, rl_loop *main)
{
    *p = (rl_publisher){.workers = workers, .main = main};
    rl_timeouts_open(&p->patience, main, 0, on_late);
}

void rl_publisher_close(rl_publisher *p)
{
    rl_timeouts_close(&p->patience);
}
