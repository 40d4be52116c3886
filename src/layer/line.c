/* line.c - a taker that waits is on its line; one that was called is on the way to its loop, and
 * frees itself there. One that was forgotten on the way passes the call on. */
#include "layer/line.h"

#include "base/map.h"

#include <pthread.h>
#include <string.h>

struct rl_lines {
    pthread_mutex_t lock;
    rl_map lines;
};

struct rl_line {
    rl_lines *all;
    char *name;
    unsigned holders, count, capacity;
    bool drop_oldest;
    rl_list jobs, takers;
};

struct rl_taker {
    rl_post post;
    rl_list link; /* on line->takers */
    rl_line *line;
    rl_loop *loop;
    rl_taker_fn *fn; /* NULL: forgotten */
    void *arg;
    bool called;
};

rl_lines *rl_lines_new(void)
{
    rl_lines *ls = rl_calloc(1, sizeof(*ls));

    pthread_mutex_init(&ls->lock, NULL);
    return ls;
}

void rl_lines_free(rl_lines *ls)
{
    RL_CHECK(ls->lines.len == 0);
    rl_map_fini(&ls->lines);
    pthread_mutex_destroy(&ls->lock);
    rl_free(ls);
}

rl_line *rl_line_hold(rl_lines *ls, rl_str name)
{
    pthread_mutex_lock(&ls->lock);
    rl_line *line = rl_map_get(&ls->lines, name);
    if (!line) {
        line = rl_calloc(1, sizeof(*line));
        line->all = ls;
        line->name = rl_strndup(name.p, name.n);
        line->capacity = 100;
        rl_list_init(&line->jobs);
        rl_list_init(&line->takers);
        rl_map_put(&ls->lines, name, line);
    }
    line->holders++;
    pthread_mutex_unlock(&ls->lock);
    return line;
}

/* Under the lock. */
static void let_go(rl_line *line)
{
    rl_list *it;

    if (--line->holders)
        return;
    rl_map_remove(&line->all->lines, rl_str_of(line->name));
    while ((it = rl_list_pop(&line->jobs)))
        rl_free(RL_LIST_ENTRY(it, rl_job, link));
    rl_free(line->name);
    rl_free(line);
}

unsigned rl_line_release(rl_line *line)
{
    rl_lines *ls = line->all;

    pthread_mutex_lock(&ls->lock);
    unsigned lost = line->holders == 1 ? line->count : 0;
    let_go(line);
    pthread_mutex_unlock(&ls->lock);
    return lost;
}

void rl_line_configure(rl_line *line, unsigned capacity, bool drop_oldest)
{
    pthread_mutex_lock(&line->all->lock);
    line->capacity = capacity;
    line->drop_oldest = drop_oldest;
    pthread_mutex_unlock(&line->all->lock);
}

static void on_call(rl_post *post);

/* Under the lock: the first who waits shall look. One whose loop has ended is none. */
static void call_one(rl_line *line)
{
    rl_list *it;

    while ((it = rl_list_pop(&line->takers))) {
        rl_taker *t = RL_LIST_ENTRY(it, rl_taker, link);
        t->called = true;
        if (rl_loop_post(t->loop, &t->post))
            return;
        let_go(line);
        rl_free(t);
    }
}

static void on_call(rl_post *post)
{
    rl_taker *t = RL_CONTAINER_OF(post, rl_taker, post);
    rl_lines *ls = t->line->all;
    rl_taker_fn *fn = t->fn;
    void *arg = t->arg;

    pthread_mutex_lock(&ls->lock);
    if (!fn && t->line->count)
        call_one(t->line);
    let_go(t->line);
    pthread_mutex_unlock(&ls->lock);
    rl_free(t);
    if (fn)
        fn(arg);
}

static rl_job *new_job(rl_str body, unsigned attempt)
{
    rl_job *job = rl_malloc(sizeof(*job) + body.n);

    rl_list_init(&job->link);
    job->attempt = attempt;
    job->n = body.n;
    memcpy(job->body, body.p, body.n);
    return job;
}

rl_put rl_line_put(rl_line *line, rl_str body, unsigned attempt, bool first)
{
    rl_job *job = new_job(body, attempt);
    rl_put put = RL_PUT_IN;

    pthread_mutex_lock(&line->all->lock);
    if (!first && line->count >= line->capacity) {
        put = line->drop_oldest ? RL_PUT_DROPPED_OLDEST : RL_PUT_REFUSED;
        if (line->drop_oldest) {
            rl_free(RL_LIST_ENTRY(rl_list_pop(&line->jobs), rl_job, link));
            line->count--;
        }
    }
    if (put == RL_PUT_REFUSED) {
        rl_free(job);
    } else {
        rl_list *at = rl_list_first(&line->jobs);
        if (first && at)
            rl_list_insert_before(at, &job->link);
        else
            rl_list_push(&line->jobs, &job->link);
        line->count++;
        call_one(line);
    }
    pthread_mutex_unlock(&line->all->lock);
    return put;
}

unsigned rl_line_count(rl_line *line)
{
    pthread_mutex_lock(&line->all->lock);
    unsigned n = line->count;
    pthread_mutex_unlock(&line->all->lock);
    return n;
}

rl_job *rl_line_take(rl_line *line, rl_loop *loop, rl_taker_fn *fn, void *arg, rl_taker **taker)
{
    rl_job *job = NULL;

    pthread_mutex_lock(&line->all->lock);
    rl_list *it = rl_list_pop(&line->jobs);
    if (it) {
        job = RL_LIST_ENTRY(it, rl_job, link);
        line->count--;
    } else {
        rl_taker *t = rl_calloc(1, sizeof(*t));
        *t = (rl_taker){.post.fn = on_call, .line = line, .loop = loop, .fn = fn, .arg = arg};
        rl_list_init(&t->link);
        rl_list_push(&line->takers, &t->link);
        line->holders++;
        *taker = t;
    }
    pthread_mutex_unlock(&line->all->lock);
    return job;
}

void rl_taker_forget(rl_taker *t)
{
    rl_lines *ls = t->line->all;

    pthread_mutex_lock(&ls->lock);
    if (t->called) {
        t->fn = NULL;
    } else {
        rl_list_remove(&t->link);
        let_go(t->line);
        rl_free(t);
    }
    pthread_mutex_unlock(&ls->lock);
}
