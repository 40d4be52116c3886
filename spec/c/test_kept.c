/* A group that keeps its history, on several threads: all members of all workers hear the same, in
 * the order of its offsets, whoever says it; and those who go and come back miss nothing and hear
 * nothing twice, whatever is said meanwhile. */
#include "unit.h"

#include "base/log.h"
#include "io/loop.h"
#include "layer/exchange.h"
#include "layer/kept.h"

enum { WORKERS = 4, SENDS = 2000, ALL = WORKERS * SENDS, STEP = 64 };

struct member {
    rl_channel *channel;
    uint64_t last; /* offset */
    unsigned got, disorder;
};

struct worker {
    unsigned index, turns, returns, gaps;
    _Atomic unsigned sent;
    rl_loop loop;
    rl_layer layer;
    uv_thread_t thread;
    uv_idle_t idle;
    struct member stays, blinks;
    bool away, done;
    uint64_t epoch;
};

static const rl_str room = {"kept", 4};
static const rl_keep keep = {.size = 100000, .ttl = 1000000};
static struct worker workers[WORKERS];
static rl_history *history;
static _Atomic unsigned busy;

static void hear(struct member *m, uint64_t offset)
{
    m->got++;
    m->disorder += offset != m->last + 1;
    m->last = offset;
}

static bool take(void *owner, rl_message *m)
{
    hear(owner, m->place->mark.offset);
    return true;
}

/* A step a turn, so that much is said in between. */
static void come_back(struct worker *w)
{
    rl_message *out[STEP];
    rl_mark since = {w->epoch, w->blinks.last};
    unsigned got;
    rl_recovery found =
        rl_layer_recover(&w->layer, room, w->blinks.channel, &since, 0, 0, out, STEP, &got);

    w->gaps += found == RL_RECOVERY_GAP;
    for (unsigned i = 0; i < got; i++) {
        hear(&w->blinks, out[i]->place->mark.offset);
        rl_message_unref(out[i]);
    }
    w->away = found != RL_RECOVERY_LEVEL;
    w->returns += !w->away;
}

/* Nobody runs ahead: what is to be seen is how they get into each other's way. */
static bool may_send(struct worker *w)
{
    unsigned sent = atomic_load(&w->sent), least = sent;

    for (unsigned i = 0; i < WORKERS; i++)
        if (atomic_load(&workers[i].sent) < least)
            least = atomic_load(&workers[i].sent);
    return sent < SENDS && sent < least + 40;
}

static void on_idle(uv_idle_t *idle)
{
    struct worker *w = RL_CONTAINER_OF(idle, struct worker, idle);
    rl_draft d = {.body = RL_STR("body")};
    rl_mark mark;

    w->turns++;
    for (int i = 0; i < 5 && may_send(w); i++, atomic_fetch_add(&w->sent, 1))
        rl_layer_group_add(&w->layer, room, &keep, &d, 0, &mark);
    if (w->away) {
        come_back(w);
    } else if (w->turns % 7 == w->index && atomic_load(&w->sent) < SENDS) {
        rl_layer_leave(&w->layer, room, w->blinks.channel);
        w->away = true;
    }
    if (!w->done && w->stays.got == ALL && w->blinks.got == ALL && !w->away) {
        w->done = true;
        atomic_fetch_sub(&busy, 1);
    }
}

struct ending {
    rl_post post;
    rl_loop *loop;
};

static void on_end(rl_post *post)
{
    rl_loop_stop(RL_CONTAINER_OF(post, struct ending, post)->loop);
}

static void run(void *arg)
{
    struct worker *w = arg;

    uv_idle_init(&w->loop.uv, &w->idle);
    uv_idle_start(&w->idle, on_idle);
    rl_loop_run(&w->loop);
    uv_close((uv_handle_t *)&w->idle, NULL);
    rl_channel_close(w->stays.channel);
    rl_channel_close(w->blinks.channel);
    rl_exchange_leave(&w->layer);
    rl_layer_fini(&w->layer);
    rl_loop_fini(&w->loop);
}

static void enter(rl_exchange *x, struct worker *w)
{
    CHECK_INT(rl_loop_init(&w->loop), 0);
    rl_layer_init(&w->layer);
    w->layer.history = history;
    rl_exchange_enter(x, &w->layer, &w->loop);
}

static void gather(struct worker *w)
{
    rl_rule *rules = rl_malloc(sizeof(*rules));

    rules[0] = (rl_rule){rl_strdup("kept"), false, keep};
    rl_layer_set_rules(&w->layer, rules, 1);
    w->epoch = rl_history_mark(history, room).epoch;
    w->stays.channel = rl_channel_open(&w->layer, RL_STR(""), take, &w->stays);
    w->blinks.channel = rl_channel_open(&w->layer, RL_STR(""), take, &w->blinks);
    rl_layer_join(&w->layer, room, w->stays.channel);
    rl_layer_join(&w->layer, room, w->blinks.channel);
}

static void everybody_hears_everything(void)
{
    static struct ending ends[WORKERS];
    rl_exchange *x = rl_exchange_new(&(rl_exchange_limits){0});

    atomic_store(&busy, WORKERS);
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i].index = i;
        enter(x, &workers[i]);
    }
    for (unsigned i = 0; i < WORKERS; i++)
        gather(&workers[i]);
    for (unsigned i = 0; i < WORKERS; i++)
        CHECK_INT(uv_thread_create(&workers[i].thread, run, &workers[i]), 0);
    for (int tries = 0; atomic_load(&busy) && tries < 60000; tries++)
        uv_sleep(1);
    for (unsigned i = 0; i < WORKERS; i++) {
        ends[i] = (struct ending){{.fn = on_end}, &workers[i].loop};
        rl_loop_post(&workers[i].loop, &ends[i].post);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        struct worker *w = &workers[i];
        uv_thread_join(&w->thread);
        CHECK_INT(w->stays.got, ALL);
        CHECK_INT(w->stays.disorder, 0);
        CHECK_INT(w->blinks.got, ALL);
        CHECK_INT(w->blinks.disorder, 0);
        CHECK_INT(w->gaps, 0);
        CHECK(w->returns > 10);
    }
    rl_exchange_free(x);
}

int main(void)
{
    rl_history_figures f;

    rl_log_setup(RL_LOG_OFF, RL_LOG_TEXT, 2);
    history = rl_history_new();
    everybody_hears_everything();
    rl_history_figures_of(history, &f);
    CHECK_INT(f.added, ALL);
    CHECK_INT(f.unread, 0);
    rl_history_free(history);
    return unit_done();
}
