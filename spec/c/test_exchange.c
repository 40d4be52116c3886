/* The layers of several threads: what is sent is delivered, or dropped and
 * counted; in order; and what was joined before is reached after.
 *
 * Four workers each have members of one group that all use, and members that
 * come and go. Each sends numbered messages to the group, to a channel of its
 * neighbour, and has channels of its neighbour join a group of its own. */
#include "unit.h"

#include "base/log.h"
#include "io/loop.h"
#include "layer/directory.h"
#include "layer/exchange.h"

#include <sched.h>
#include <stdlib.h>

enum { WORKERS = 4, STAYING = 3, SENDS = 3000, PLACINGS = 200 };

struct worker;

struct member {
  struct worker *worker;
  rl_channel *channel;
  unsigned got;           /* of the group's */
  unsigned next[WORKERS]; /* number expected from each sender */
  unsigned disorder;
};

struct worker {
  unsigned index;
  rl_loop loop;
  rl_layer layer;
  uv_thread_t thread;
  uv_idle_t idle;
  struct member members[STAYING], passing,
      post; /* the last: only by its channel */
  unsigned sent, nobody, placed, found, unplaced;
  unsigned listed, unlisted; /* of the neighbour's members, all; and still to come */
  uint64_t delivered, dropped; /* by the receipts */
};

static struct worker workers[WORKERS];
static _Atomic unsigned busy;
static _Atomic uint64_t
    handed; /* group messages that a receipt counted for somebody who stays */

struct text {
  unsigned sender, number;
};

static struct text text_of(const rl_message *m) {
  struct text t;

  memcpy(&t, m->body.p, sizeof(t));
  return t;
}

static bool take(void *owner, rl_message *m) {
  struct member *self = owner;
  struct text t = text_of(m);

  self->got++;
  if (t.number != self->next[t.sender])
    self->disorder++;
  self->next[t.sender] = t.number + 1;
  return true;
}

/* Comes and goes, so it only counts. */
static bool glance(void *owner, rl_message *m) {
  struct member *self = owner;

  self->got++;
  return true;
}

static rl_channel *find(rl_layer *layer, rl_str name) {
  struct worker *w = RL_CONTAINER_OF(layer, struct worker, layer);

  return rl_str_starts(name, rl_str_of(layer->prefix)) &&
                 name.p[name.n - 1] == '7'
             ? w->post.channel
             : NULL;
}

static rl_str name_of(struct worker *w, char digit, char out[64]) {
  int n = snprintf(out, 64, "%s%c", w->layer.prefix, digit);

  return (rl_str){out, (size_t)n};
}

static void on_placed(void *arg, bool found) {
  struct worker *w = arg;

  w->unplaced--;
  w->found += found;
}

static void name_all(rl_layer *layer, void *owner,
                     char out[RL_LAYER_NAME_MAX + 1]) {
  snprintf(out, RL_LAYER_NAME_MAX + 1, "%s1", layer->prefix);
}

static void on_listed(void *arg, rl_str names) {
  struct worker *w = arg, *next = &workers[(w->index + 1) % WORKERS];
  rl_str name;
  unsigned n = 0;

  while (names.n && rl_str_cut(&names, '\n', &name))
    n += rl_str_starts(name, rl_str_of(next->layer.prefix));
  w->listed += n == STAYING;
  w->unlisted--;
}

static void end_sending(struct worker *w) {
  uv_idle_stop(&w->idle);
  atomic_fetch_sub(&busy, 1);
}

/* A little each turn. */
static void on_idle(uv_idle_t *h) {
  struct worker *w = RL_CONTAINER_OF(h, struct worker, idle),
                *next = &workers[(w->index + 1) % WORKERS];
  char name[64];

  for (int i = 0; i < 10 && w->sent < SENDS; i++, w->sent++) {
    struct text t = {w->index, w->sent};
    rl_message *m = rl_message_new((rl_str){(char *)&t, sizeof(t)}, RL_STR("h"),
                                   RL_STR("p"));
    rl_receipt r = rl_layer_group_send(&w->layer, RL_STR("all"), m),
               direct = {0};
    atomic_fetch_add(&handed, r.delivered);
    w->dropped += r.dropped;
    w->nobody +=
        !rl_exchange_send(&w->layer, name_of(next, '7', name), m, &direct);
    w->delivered += direct.delivered;
    w->dropped += direct.dropped;
    rl_message_unref(m);
  }
  if (w->sent % 20 == 0)
    rl_layer_join(&w->layer, RL_STR("passing"), w->passing.channel);
  else
    rl_layer_leave(&w->layer, RL_STR("passing"), w->passing.channel);
  if (w->placed < PLACINGS) {
    char digit =
        w->placed % 2 ? '7' : '8'; /* one that is there, one that is not */
    w->unplaced++;
    rl_exchange_ask(&w->layer, RL_STR("placed"), name_of(next, digit, name),
                    w->placed % 4 < 2, on_placed, w);
    w->placed++;
    w->unlisted += rl_exchange_list(&w->layer, RL_STR("all"), next->index,
                                    on_listed, w) != NULL;
  }
  if (w->sent == SENDS && w->placed == PLACINGS && !w->unplaced &&
      !w->unlisted)
    end_sending(w);
}

struct ending {
  rl_post post;
  rl_loop *loop;
};

static void on_end(rl_post *post) {
  rl_loop_stop(RL_CONTAINER_OF(post, struct ending, post)->loop);
}

static void run(void *arg) {
  struct worker *w = arg;

  uv_idle_init(&w->loop.uv, &w->idle);
  uv_idle_start(&w->idle, on_idle);
  rl_loop_run(&w->loop);
  uv_close((uv_handle_t *)&w->idle, NULL);
  for (int i = 0; i < STAYING; i++)
    rl_channel_close(w->members[i].channel);
  rl_channel_close(w->passing.channel);
  rl_channel_close(w->post.channel);
  rl_exchange_leave(&w->layer);
  rl_layer_fini(&w->layer);
  rl_loop_fini(&w->loop);
}

static rl_channel *open_member(struct worker *w, struct member *m,
                               rl_deliver_fn *fn) {
  m->worker = w;
  m->channel = rl_channel_open(&w->layer, RL_STR(""), fn, m);
  return m->channel;
}

static rl_exchange *enter_all(const rl_exchange_limits *limits) {
  rl_exchange *x = rl_exchange_new(limits);

  memset(workers, 0, sizeof(workers));
  atomic_store(&busy, WORKERS);
  atomic_store(&handed, 0);
  for (unsigned i = 0; i < WORKERS; i++) {
    struct worker *w = &workers[i];
    w->index = i;
    CHECK_INT(rl_loop_init(&w->loop), 0);
    rl_layer_init(&w->layer);
    w->layer.find = find;
    w->layer.name = name_all;
    rl_exchange_enter(x, &w->layer, &w->loop);
  }
  for (unsigned i = 0; i < WORKERS; i++) {
    struct worker *w = &workers[i];
    for (int k = 0; k < STAYING; k++)
      rl_layer_join(&w->layer, RL_STR("all"),
                    open_member(w, &w->members[k], take));
    open_member(w, &w->passing, glance);
    open_member(w, &w->post, take);
  }
  return x;
}

static void end_all(void) {
  static struct ending ends[WORKERS];

  while (atomic_load(&busy))
    uv_sleep(1);
  uv_sleep(50); /* for what is on the way to those that are last */
  for (unsigned i = 0; i < WORKERS; i++) {
    ends[i].post.fn = on_end;
    ends[i].loop = &workers[i].loop;
    rl_loop_post(&workers[i].loop, &ends[i].post);
  }
  for (unsigned i = 0; i < WORKERS; i++)
    uv_thread_join(&workers[i].thread);
}

static void delivers_all_in_order(void) {
  rl_exchange *x = enter_all(&(rl_exchange_limits){0});
  uint64_t got = 0, direct = 0;

  CHECK_INT(rl_layer_group_count(&workers[2].layer, RL_STR("all")),
            WORKERS * STAYING);
  for (unsigned i = 0; i < WORKERS; i++)
    CHECK_INT(uv_thread_create(&workers[i].thread, run, &workers[i]), 0);
  end_all();
  for (unsigned i = 0; i < WORKERS; i++) {
    struct worker *w = &workers[i];
    for (int k = 0; k < STAYING; k++) {
      CHECK_INT(w->members[k].got, WORKERS * SENDS);
      CHECK_INT(w->members[k].disorder, 0);
      got += w->members[k].got;
    }
    direct += w->post.got;
    CHECK_INT(w->post.disorder, 0);
    CHECK_INT(w->delivered, SENDS);
    CHECK_INT(w->dropped, 0);
    CHECK_INT(w->nobody, 0);
    CHECK_INT(w->found, PLACINGS / 2);
    CHECK_INT(w->unplaced, 0);
    CHECK_INT(w->listed, PLACINGS);
  }
  CHECK_INT(got, atomic_load(&handed));
  CHECK_INT(direct, WORKERS * SENDS);
  rl_exchange_free(x);
}

/* A worker that does not run gets what its queue holds, and the rest is dropped
 * by its sender. */
static void drops_what_has_no_room(void) {
  rl_exchange *x =
      enter_all(&(rl_exchange_limits){.letters = 100, .bytes = 1000});
  struct text t = {0, 0};
  rl_message *m =
      rl_message_new((rl_str){(char *)&t, sizeof(t)}, RL_STR(""), RL_STR(""));
  rl_message *big =
      rl_message_new((rl_str){(char *)workers, 990}, RL_STR(""), RL_STR(""));
  rl_receipt all = {0};

  for (int i = 0; i < 150; i++) {
    rl_receipt r = rl_layer_group_send(&workers[0].layer, RL_STR("all"), m);
    all.delivered += r.delivered;
    all.dropped += r.dropped;
  }
  CHECK_INT(all.delivered, 150 * STAYING + 3 * 100 * STAYING);
  CHECK_INT(all.dropped, 3 * 50 * STAYING);
  CHECK_INT(workers[0].layer.dropped, all.dropped);
  CHECK_INT(workers[0].loop.counters.messages_crowded, all.dropped);
  CHECK(rl_exchange_list(&workers[0].layer, RL_STR("all"), 0, on_listed, workers) == NULL);
  CHECK(rl_exchange_list(&workers[0].layer, RL_STR("none"), 1, on_listed, workers) == NULL);
  CHECK_INT(rl_layer_group_send(&workers[1].layer, RL_STR("all"), big).dropped,
            2 * STAYING);
  rl_message_unref(m);
  rl_message_unref(big);
  /* Nobody runs: what waits is for nobody, and freed all the same. */
  for (unsigned i = 0; i < WORKERS; i++) {
    struct worker *w = &workers[i];
    for (int k = 0; k < STAYING; k++)
      rl_channel_close(w->members[k].channel);
    rl_channel_close(w->passing.channel);
    rl_channel_close(w->post.channel);
    rl_exchange_leave(&w->layer);
    rl_layer_fini(&w->layer);
  }
  for (unsigned i = 0; i < WORKERS; i++)
    rl_loop_fini(&workers[i].loop);
  rl_exchange_free(x);
}

static _Atomic bool writing;
static _Atomic unsigned misread;

static void count_on(void *arg) {
  rl_directory *d = arg;

  while (atomic_load(&writing)) {
    /* whatever comes and goes around it */
    atomic_fetch_add(&misread, rl_directory_count(d, 1000003) != 2);
    sched_yield();
  }
}

static void a_directory_grows_while_it_is_read(void) {
  rl_directory d = {NULL};
  uv_thread_t reader;

  rl_directory_add(&d, 1000003, 2);
  atomic_store(&writing, true);
  CHECK_INT(uv_thread_create(&reader, count_on, &d), 0);
  for (uint64_t k = 1; k < 20000; k++) {
    rl_directory_add(&d, k * 0x9e3779b97f4a7c15, 1);
    if (k > 3000)
      rl_directory_add(&d, (k - 3000) * 0x9e3779b97f4a7c15, -1);
  }
  atomic_store(&writing, false);
  uv_thread_join(&reader);
  unsigned wrong = atomic_load(&misread);
  for (uint64_t k = 1; k < 20000; k++)
    wrong += rl_directory_count(&d, k * 0x9e3779b97f4a7c15) != (k > 16999);
  CHECK_INT(wrong, 0);
  rl_directory_fini(&d);
}

int main(void) {
  rl_log_setup(RL_LOG_OFF, RL_LOG_TEXT, 2);
  delivers_all_in_order();
  drops_what_has_no_room();
  a_directory_grows_while_it_is_read();
  return unit_done();
}
