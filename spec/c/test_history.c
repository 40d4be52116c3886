/* Histories: offsets, what is kept and for how long, who comes back, who reads. */
#include "unit.h"

#include "layer/history.h"
#include "layer/kept.h"

static const rl_keep small = {.size = 4, .ttl = 1000, .stamp = true};
static rl_history *h;
static rl_seats wake;

static rl_draft text_of(const char *text)
{
    return (rl_draft){RL_STR("body"), rl_str_of(text), RL_DRAFT_TEXT};
}

static rl_mark say(const char *text, uint64_t now)
{
    rl_draft d = text_of(text);

    return rl_history_add(h, RL_STR("room"), &small, &d, now, 0, &wake);
}

/* The payload of the only one that is there; frames here are short. */
static void check_payload(rl_message *m, const char *wanted)
{
    char text[256], epoch[RL_EPOCH_SIZE];

    snprintf(text, sizeof(text), wanted, rl_epoch_text(m->place->mark.epoch, epoch));
    size_t head = strlen(text) < 126 ? 2 : 4;
    CHECK_MEM(m->frame->data + head, m->frame->n - head, text);
}

static void stamps_objects(void)
{
    static const char *const cases[][2] = {
        {"{\"a\":1}", "{\"a\":1,\"history\":{\"group\":\"room\",\"epoch\":\"%s\",\"offset\":1}}"},
        {" {\n} ", "{\"history\":{\"group\":\"room\",\"epoch\":\"%s\",\"offset\":2}}"},
        {"[1]", "[1]"},
        {"", ""},
    };
    rl_message *m;
    unsigned lost;

    h = rl_history_new();
    rl_history_follow(h, RL_STR("room"), 0);
    for (size_t i = 0; i < RL_COUNT(cases); i++) {
        rl_draft d = text_of(cases[i][0]);
        CHECK(rl_draft_is_object(&d) == (i < 2));
        CHECK_INT(say(cases[i][0], 0).offset, i + 1);
        CHECK_INT(rl_history_read(h, RL_STR("room"), 0, &m, 1, &lost), 1);
        check_payload(m, cases[i][1]);
        CHECK_MEM(m->place->group.p, m->place->group.n, "room");
        CHECK_INT(m->place->mark.offset, i + 1);
        rl_message_unref(m);
    }
    rl_history_unfollow(h, RL_STR("room"), 0);
    rl_history_free(h);
}

static void forget(rl_message **all, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        rl_message_unref(all[i]);
}

/* How many come back to who has this offset; -1: there is a gap. */
static int missed(uint64_t epoch, uint64_t offset, uint64_t now)
{
    rl_message *out[100];
    rl_mark since = {epoch, offset};
    unsigned got, all = 0;
    rl_recovery found;

    do {
        found = rl_history_recover(h, RL_STR("room"), 0, &since, 0, now, out, 2, &got);
        for (unsigned i = 0; i < got; i++)
            CHECK_INT(out[i]->place->mark.offset, offset + ++all);
        forget(out, got);
    } while (found == RL_RECOVERY_MORE);
    rl_history_unfollow(h, RL_STR("room"), 0);
    return found == RL_RECOVERY_GAP ? -1 : (int)all;
}

static void gives_back_what_it_keeps(void)
{
    rl_history_figures f;
    uint64_t epoch = 0;

    h = rl_history_new();
    for (unsigned i = 1; i <= 6; i++)
        epoch = say("{}", i * 100).epoch;
    CHECK_INT(missed(epoch, 6, 700), 0);
    CHECK_INT(missed(epoch, 3, 700), 3);
    CHECK_INT(missed(epoch, 2, 700), 4);
    CHECK_INT(missed(epoch, 1, 700), -1);     /* size */
    CHECK_INT(missed(epoch, 7, 700), -1);     /* never was */
    CHECK_INT(missed(epoch + 1, 6, 700), -1); /* another life's */
    CHECK_INT(missed(epoch, 3, 1399), 3);
    CHECK_INT(missed(epoch, 3, 1400), -1); /* ttl: the fourth came at 400 */
    CHECK_INT(missed(epoch, 4, 1400), 2);
    CHECK_INT(missed(epoch, 6, 1000000), 0); /* who missed nothing is told so, whenever */
    rl_history_sweep(h, 1000000);
    rl_history_figures_of(h, &f);
    CHECK_INT(f.messages, 0);
    CHECK_INT(f.streams, 1);
    CHECK_INT(missed(epoch, 6, 1000000), 0);
    CHECK_INT(say("{}", 1000000).offset, 7);
    CHECK_INT(missed(epoch, 6, 1000000), 1);
    rl_history_free(h);
}

static void begins_so_many_before_the_end(void)
{
    rl_message *out[8];
    rl_mark since = {0};
    unsigned got;

    h = rl_history_new();
    for (unsigned i = 0; i < 6; i++)
        say("{}", 0);
    CHECK(rl_history_recover(h, RL_STR("room"), 0, &since, 3, 1, out, 8, &got) == RL_RECOVERY_MORE);
    CHECK_INT(got, 3);
    CHECK_INT(out[0]->place->mark.offset, 4);
    forget(out, got);
    since = (rl_mark){0};
    rl_history_recover(h, RL_STR("room"), 0, &since, 100, 1, out, 8, &got);
    CHECK_INT(got, 4);
    forget(out, got);
    rl_history_free(h);
}

static void wakes_a_reader_once(void)
{
    rl_message *out[8];
    unsigned lost;

    h = rl_history_new();
    say("{}", 0);
    rl_history_follow(h, RL_STR("room"), 200);
    say("{}", 0);
    CHECK(rl_seats_has(&wake, 200) && !rl_seats_has(&wake, 0));
    say("{}", 0);
    CHECK(!rl_seats_has(&wake, 200));
    CHECK_INT(rl_history_read(h, RL_STR("room"), 200, out, 8, &lost), 2);
    CHECK(out[0]->place->mark.offset == 2 && out[1]->place->mark.offset == 3);
    forget(out, 2);
    say("{}", 0);
    CHECK(rl_seats_has(&wake, 200));
    CHECK(rl_history_read(h, RL_STR("room"), 7, out, 8, &lost) == 0); /* no reader */
    rl_history_unfollow(h, RL_STR("room"), 200);
    say("{}", 0);
    CHECK(!rl_seats_has(&wake, 200));
    rl_history_free(h);
}

/* What a reader has not read is kept for it, beyond the size, and a recovery there waits. */
static void keeps_what_is_unread(void)
{
    rl_message *out[32];
    rl_mark since;
    unsigned got, lost;

    h = rl_history_new();
    rl_history_follow(h, RL_STR("room"), 3);
    for (unsigned i = 0; i < 20; i++)
        since = say("{}", 0);
    CHECK(rl_history_recover(h, RL_STR("room"), 3, &since, 0, 0, out, 32, &got) ==
          RL_RECOVERY_BEHIND);
    CHECK_INT(rl_history_read(h, RL_STR("room"), 3, out, 32, &lost), 20);
    CHECK_INT(lost, 0);
    forget(out, 20);
    say("{}", 0);
    CHECK_INT(missed(since.epoch, 16, 0), -1);
    rl_history_free(h);
}

/* Bytes: of the one that was silent longest the oldest go, and a reader learns what it lost. */
static void is_bounded_by_bytes(void)
{
    static char long_text[4096];
    rl_history_figures f;
    rl_message *out[64];
    rl_draft d = {.body = {long_text, sizeof(long_text)}};
    rl_keep large = {.size = 1000, .ttl = 1000};
    unsigned lost;

    h = rl_history_new();
    rl_history_limit(h, &(rl_history_limits){.bytes = 40 * 4096});
    rl_history_follow(h, RL_STR("old"), 1);
    for (unsigned i = 0; i < 30; i++)
        rl_history_add(h, RL_STR("old"), &large, &d, 0, 0, &wake);
    for (unsigned i = 0; i < 30; i++)
        rl_history_add(h, RL_STR("new"), &large, &d, 0, 0, &wake);
    rl_history_figures_of(h, &f);
    CHECK(f.bytes <= 40 * 4096 && f.bytes > 38 * 4096);
    unsigned got = rl_history_read(h, RL_STR("old"), 1, out, 64, &lost);
    CHECK_INT(got + lost, 30);
    CHECK_INT(f.evicted, lost);
    CHECK(got > 0 && got < 10);
    forget(out, got);
    rl_history_figures_of(h, &f);
    CHECK_INT(f.unread, lost);
    rl_history_free(h);
}

/* Streams: those that nobody reads, the longest unused first. */
static void is_bounded_by_streams(void)
{
    rl_history_figures f;
    rl_draft d = text_of("{}");
    uint64_t epochs[4];
    static const char *const names[] = {"a", "b", "c", "d"};

    h = rl_history_new();
    rl_history_limit(h, &(rl_history_limits){.streams = 3});
    rl_history_follow(h, RL_STR("a"), 0);
    for (int i = 0; i < 4; i++)
        epochs[i] = rl_history_add(h, rl_str_of(names[i]), &small, &d, 0, 0, &wake).epoch;
    rl_history_figures_of(h, &f);
    CHECK_INT(f.streams, 3);
    CHECK_INT(f.forgotten, 1);
    CHECK(rl_history_add(h, RL_STR("a"), &small, &d, 0, 0, &wake).epoch == epochs[0]);
    CHECK(rl_history_add(h, RL_STR("c"), &small, &d, 0, 0, &wake).epoch == epochs[2]);
    CHECK(rl_history_add(h, RL_STR("b"), &small, &d, 0, 0, &wake).epoch != epochs[1]);
    CHECK(rl_history_add(h, RL_STR("d"), &small, &d, 0, 0, &wake).epoch != epochs[3]);
    rl_history_free(h);
}

static void reads_epochs(void)
{
    char text[RL_EPOCH_SIZE];
    uint64_t epoch;

    CHECK(rl_epoch_read(rl_str_of(rl_epoch_text(0xfedcba9876543210, text)), &epoch));
    CHECK(epoch == 0xfedcba9876543210);
    CHECK(!rl_epoch_read(RL_STR(""), &epoch));
    CHECK(!rl_epoch_read(RL_STR("0000000000000000"), &epoch));
    CHECK(!rl_epoch_read(RL_STR("fedcba987654321G"), &epoch));
    CHECK(!rl_epoch_read(RL_STR("fedcba98765432101"), &epoch));
}

/* The layer's side: rules, members, one who comes back. */

struct member {
    uint64_t last;
    unsigned got, disorder;
};

static bool hear(void *owner, rl_message *m)
{
    struct member *self = owner;
    uint64_t offset = m->place ? m->place->mark.offset : 0;

    self->got++;
    self->disorder += self->last && offset != self->last + 1;
    self->last = offset;
    return true;
}

static rl_rule rule(const char *name, bool open, unsigned size)
{
    return (rl_rule){rl_strdup(name), open, {.size = size, .ttl = 1000}};
}

static void set_rules(rl_layer *layer)
{
    rl_rule *rules = rl_malloc(4 * sizeof(*rules));

    rules[0] = rule("", true, 1);
    rules[1] = rule("room.", true, 2);
    rules[2] = rule("room.a", false, 3);
    rules[3] = rule("room.a", true, 4);
    rl_layer_set_rules(layer, rules, 4);
}

static void finds_rules(rl_layer *layer)
{
    CHECK_INT(rl_layer_keep_of(layer, RL_STR("x"))->size, 1);
    CHECK_INT(rl_layer_keep_of(layer, RL_STR("room.b"))->size, 2);
    CHECK_INT(rl_layer_keep_of(layer, RL_STR("room.a"))->size, 3);
    CHECK_INT(rl_layer_keep_of(layer, RL_STR("room.ab"))->size, 4);
}

static void recovers_into_the_group(void)
{
    static const rl_str room = {"room.b", 6};
    rl_layer layer;
    struct member stays = {0}, back = {0};
    rl_draft d = text_of("{}");
    rl_message *out[8];
    rl_mark mark, since;
    unsigned got;

    h = rl_history_new();
    rl_layer_init(&layer);
    layer.history = h;
    rl_channel *one = rl_channel_open(&layer, RL_STR(""), hear, &stays),
               *two = rl_channel_open(&layer, RL_STR(""), hear, &back);
    rl_layer_join(&layer, room, one);
    set_rules(&layer); /* whoever is there follows */
    finds_rules(&layer);
    const rl_keep *keep = rl_layer_keep_of(&layer, room);
    for (int i = 0; i < 3; i++)
        CHECK_INT(rl_layer_group_add(&layer, room, keep, &d, 0, &mark).delivered, 1);
    CHECK(stays.got == 3 && stays.last == 3 && stays.disorder == 0);

    since = (rl_mark){mark.epoch, 1};
    CHECK(rl_layer_recover(&layer, room, two, &since, 0, 0, out, 8, &got) == RL_RECOVERY_MORE);
    CHECK_INT(got, 2);
    forget(out, got);
    rl_layer_group_add(&layer, room, keep, &d, 0, &mark); /* it is no member yet */
    CHECK(back.got == 0 && stays.got == 4);
    CHECK(rl_layer_recover(&layer, room, two, &since, 0, 0, out, 8, &got) == RL_RECOVERY_MORE);
    CHECK_INT(out[0]->place->mark.offset, 4);
    forget(out, got);
    CHECK(rl_layer_recover(&layer, room, two, &since, 0, 0, out, 8, &got) == RL_RECOVERY_LEVEL);
    CHECK_INT(rl_layer_group_add(&layer, room, keep, &d, 0, &mark).delivered, 2);
    CHECK(back.got == 1 && back.last == 5);

    rl_layer_set_rules(&layer, NULL, 0);
    CHECK(rl_layer_keep_of(&layer, room) == NULL);
    rl_channel_close(one);
    rl_channel_close(two);
    rl_layer_fini(&layer);
    rl_history_free(h);
}

int main(void)
{
    stamps_objects();
    gives_back_what_it_keeps();
    begins_so_many_before_the_end();
    wakes_a_reader_once();
    keeps_what_is_unread();
    is_bounded_by_bytes();
    is_bounded_by_streams();
    reads_epochs();
    recovers_into_the_group();
    return unit_done();
}
