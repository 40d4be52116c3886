#include "host/ask.h"

/* One worker's share. Its thread has it from the post there to the post back. */
struct share {
    rl_post post; /* there, and back */
    struct asked *asked;
    rl_runner *runner;
    void *answer;
    unsigned worker;
    bool there; /* there was a worker to answer */
    bool back;
    bool overdue;
};

struct asked {
    rl_asker *asker; /* NULL: closed */
    rl_loop *main;
    const rl_question *question;
    void *arg;
    rl_list link; /* on asker.open */
    uv_timer_t timer;
    bool told;
    unsigned n, missing;
    struct share each[];
};

static void on_timer_closed(uv_handle_t *h)
{
    rl_free(RL_CONTAINER_OF(h, struct asked, timer));
}

static void end(struct asked *q)
{
    for (unsigned i = 0; i < q->n; i++) {
        struct share *one = &q->each[i];
        if (one->there && q->question->drop)
            q->question->drop(one->answer);
        rl_free(one->answer);
    }
    rl_list_remove(&q->link);
    uv_close((uv_handle_t *)&q->timer, on_timer_closed);
}

static void tell(struct asked *q)
{
    rl_reply *replies = rl_calloc(q->n ? q->n : 1, sizeof(*replies));

    q->told = true;
    for (unsigned i = 0; i < q->n; i++) {
        const struct share *one = &q->each[i];
        replies[i].silent = !one->back;
        replies[i].answer = one->back && one->there ? one->answer : NULL;
    }
    if (q->asker)
        q->question->told(q->arg, replies, q->n);
    rl_free(replies);
}

static void on_back(rl_post *post)
{
    struct share *one = RL_CONTAINER_OF(post, struct share, post);
    struct asked *q = one->asked;

    one->back = true;
    if (one->overdue && q->asker)
        q->asker->owed[one->worker]--;
    if (--q->missing)
        return;
    if (!q->told)
        tell(q);
    end(q);
}

static void send_back(struct share *one)
{
    one->post.fn = on_back;
    /* The main loop outlives the workers. */
    RL_CHECK(rl_loop_post(one->asked->main, &one->post));
}

static void on_question(rl_post *post)
{
    struct share *one = RL_CONTAINER_OF(post, struct share, post);
    rl_worker *w = rl_runner_worker(one->runner);

    one->there = w != NULL;
    if (w)
        one->asked->question->look(w, one->answer);
    send_back(one);
}

static void on_late(uv_timer_t *timer)
{
    struct asked *q = RL_CONTAINER_OF(timer, struct asked, timer);

    for (unsigned i = 0; i < q->n; i++)
        if (q->each[i].runner && !q->each[i].back) {
            q->each[i].overdue = true;
            q->asker->owed[i]++;
        }
    tell(q);
    if (!q->missing)
        end(q);
}

void rl_asker_ask(rl_asker *a, rl_runner *const *runners, unsigned n, const rl_question *question,
                  void *arg)
{
    struct asked *q = rl_calloc(1, sizeof(*q) + n * sizeof(q->each[0]));
    bool late = true;

    *q = (struct asked){a, a->main, question, arg, .n = n};
    rl_list_init(&q->link);
    rl_list_push(&a->open, &q->link);
    uv_timer_init(&a->main->uv, &q->timer);
    for (unsigned i = 0; i < n; i++) {
        struct share *one = &q->each[i];
        *one = (struct share){.asked = q, .worker = i};
        if (a->owed[i] && question->patience)
            continue;
        late = false;
        one->answer = rl_calloc(1, question->size);
        one->runner = runners[i];
        one->post.fn = on_question;
        q->missing++;
        if (!rl_runner_post(runners[i], &one->post))
            send_back(one);
    }
    if (late || question->patience)
        uv_timer_start(&q->timer, on_late, late ? 0 : question->patience, 0);
}

void rl_asker_init(rl_asker *a, rl_loop *main)
{
    *a = (rl_asker){.main = main};
    rl_list_init(&a->open);
}

void rl_asker_close(rl_asker *a)
{
    rl_list *it;

    while ((it = rl_list_pop(&a->open))) {
        struct asked *q = RL_LIST_ENTRY(it, struct asked, link);
        rl_list_init(&q->link);
        q->asker = NULL;
        uv_timer_stop(&q->timer);
        if (!q->missing)
            end(q);
    }
}
