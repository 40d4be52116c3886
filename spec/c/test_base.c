/* Lists, slices, buffers, maps and small sums. */
#include "unit.h"

#include "base/backoff.h"
#include "base/histogram.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"

static void cuts_slices(void)
{
    rl_str rest = RL_STR("a,,b"), part;

    CHECK(rl_str_cut(&rest, ',', &part) && rl_str_eq(part, RL_STR("a")));
    CHECK(rl_str_cut(&rest, ',', &part) && part.n == 0);
    CHECK(rl_str_cut(&rest, ',', &part) && rl_str_eq(part, RL_STR("b")));
    CHECK(!rl_str_cut(&rest, ',', &part));
    CHECK(rl_str_list_has(RL_STR("keep-alive, Upgrade"), RL_STR("upgrade")));
    CHECK(!rl_str_list_has(RL_STR("upgraded"), RL_STR("upgrade")));
}

static void reads_numbers(void)
{
    uint64_t n = 7;

    CHECK(rl_str_to_u64(RL_STR("18446744073709551615"), UINT64_MAX, &n) && n == UINT64_MAX);
    CHECK(!rl_str_to_u64(RL_STR("18446744073709551616"), UINT64_MAX, &n));
    CHECK(!rl_str_to_u64(RL_STR(""), 10, &n) && !rl_str_to_u64(RL_STR("+1"), 10, &n));
    CHECK(!rl_str_to_u64(RL_STR("11"), 10, &n));
}

static void grows_buffers(void)
{
    rl_buf b = {0};

    for (int i = 0; i < 100; i++)
        rl_buf_printf(&b, "%d,", i);
    CHECK_INT(b.len, 290);
    rl_buf_consume(&b, 4);
    CHECK_MEM(b.data, 4, "2,3,");
    CHECK_INT(strlen(rl_buf_cstr(&b)), 286);
    rl_buf_fini(&b);
}

static void maps_strings(void)
{
    rl_map m = {0};
    char key[32];
    static int values[1000];

    for (int i = 0; i < 1000; i++) {
        int n = snprintf(key, sizeof(key), "group.%d", i);
        CHECK(rl_map_put(&m, (rl_str){key, (size_t)n}, &values[i]) == NULL);
    }
    CHECK(rl_map_get(&m, RL_STR("group.999")) == &values[999]);
    CHECK(rl_map_put(&m, RL_STR("group.1"), &values[0]) == &values[1]);
    for (int i = 0; i < 990; i++) {
        int n = snprintf(key, sizeof(key), "group.%d", i);
        CHECK(rl_map_remove(&m, (rl_str){key, (size_t)n}) != NULL);
    }
    size_t at = 0, seen = 0;
    rl_str k;
    void *v;
    while (rl_map_next(&m, &at, &k, &v))
        seen++;
    CHECK_INT(seen, 10);
    CHECK(rl_map_get(&m, RL_STR("group.5")) == NULL);
    rl_map_fini(&m);
}

static void keeps_lists(void)
{
    rl_list head, nodes[3];

    rl_list_init(&head);
    for (int i = 0; i < 3; i++) {
        rl_list_init(&nodes[i]);
        rl_list_push(&head, &nodes[i]);
    }
    rl_list_remove(&nodes[1]);
    rl_list_remove(&nodes[1]);
    CHECK(rl_list_alone(&nodes[1]));
    CHECK(rl_list_pop(&head) == &nodes[0] && rl_list_pop(&head) == &nodes[2]);
    CHECK(rl_list_pop(&head) == NULL);
}

static void sorts_durations(void)
{
    rl_histogram h = {0};
    static const uint64_t took[] = {0, 63, 64, 255, 256, 1023, 1024, UINT64_MAX / 2};

    for (size_t i = 0; i < RL_COUNT(took); i++)
        rl_histogram_add(&h, took[i]);
    CHECK_INT(h.count, RL_COUNT(took));
    CHECK_INT(h.buckets[0], 2);
    CHECK_INT(h.buckets[1], 2);
    CHECK_INT(h.buckets[2], 2);
    CHECK_INT(h.buckets[3], 1);
    CHECK_INT(h.buckets[RL_HISTOGRAM_BUCKETS - 1], 1);
    for (int i = 0; i + 1 < RL_HISTOGRAM_BUCKETS; i++) {
        h = (rl_histogram){0};
        rl_histogram_add(&h, rl_histogram_bound(i) - 1);
        rl_histogram_add(&h, rl_histogram_bound(i));
        CHECK_INT(h.buckets[i], 1);
        CHECK_INT(h.buckets[i + 1], 1);
    }
}

static void compares_secrets(void)
{
    static const char *const same[] = {"", "a", "secret"};

    for (size_t i = 0; i < RL_COUNT(same); i++)
        for (size_t j = 0; j < RL_COUNT(same); j++)
            CHECK(rl_str_same(rl_str_of(same[i]), rl_str_of(same[j])) == (i == j));
    CHECK(!rl_str_same(RL_STR("secret"), RL_STR("secreT")));
    CHECK(!rl_str_same(RL_STR("aaa"), RL_STR("a"))); /* which repeats itself */
    CHECK(rl_str_same((rl_str){"a\0b", 3}, RL_STR("a\0b")));
    CHECK(!rl_str_same((rl_str){"a\0b", 3}, RL_STR("a\0c")));
}

static void backs_off(void)
{
    static const uint64_t spans[] = {100, 200, 400, 800, 1000, 1000};

    for (unsigned i = 0; i < RL_COUNT(spans); i++) {
        uint64_t span = spans[i], least = UINT64_MAX, most = 0;

        for (uint64_t chance = 0; chance < 3 * span; chance += 7) {
            uint64_t ms = rl_backoff(i + 1, 100, 1000, chance);
            least = ms < least ? ms : least;
            most = ms > most ? ms : most;
            CHECK_INT(ms, 25 + chance % span);
        }
        CHECK_INT(least, 25);
        CHECK(most >= 25 + span - 7 && most < 25 + span);
    }
    CHECK(rl_backoff(UINT32_MAX, 100, 5000, UINT64_MAX) < 25 + 5000); /* after years */
}

int main(void)
{
    backs_off();
    compares_secrets();
    cuts_slices();
    reads_numbers();
    grows_buffers();
    maps_strings();
    keeps_lists();
    sorts_durations();
    return unit_done();
}
