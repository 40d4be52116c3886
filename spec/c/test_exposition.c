/* Metrics in Prometheus' words: what is escaped, how values look, what a histogram adds up to. */
#include "unit.h"

#include "base/exposition.h"

#include <math.h>
#include <string.h>

static rl_buf out;

static const char *written(void)
{
    return rl_buf_cstr(&out);
}

static const char *sample(rl_str label, double value)
{
    rl_buf_clear(&out);
    rl_exposition_begin(&out, "x", "");
    if (label.p)
        rl_exposition_label(&out, "l", label);
    rl_exposition_end(&out, value);
    return written();
}

#define NONE     ((rl_str){0})
#define IS(a, b) CHECK(strcmp(a, b) == 0)

static void test_labels(void)
{
    IS(sample(RL_STR(""), 1), "x{l=\"\"} 1\n");
    IS(sample(RL_STR("a\"b\\c\nd"), 1), "x{l=\"a\\\"b\\\\c\\nd\"} 1\n");
    IS(sample(RL_STR("t\tr\r{},="), 1), "x{l=\"t\tr\r{},=\"} 1\n");
    IS(sample(RL_STR("caf\xc3\xa9 \xff\xc3"), 1),
       "x{l=\"caf\xc3\xa9 \xef\xbf\xbd\xef\xbf\xbd\"} 1\n");

    rl_buf_clear(&out);
    rl_exposition_begin(&out, "x", "_y");
    rl_exposition_label(&out, "a", RL_STR("1"));
    rl_exposition_label(&out, "b", RL_STR("\\"));
    rl_exposition_end(&out, 2);
    IS(written(), "x_y{a=\"1\",b=\"\\\\\"} 2\n");
}

static void test_values(void)
{
    IS(sample(NONE, 0), "x 0\n");
    IS(sample(NONE, -3), "x -3\n");
    IS(sample(NONE, 0.25), "x 0.25\n");
    IS(sample(NONE, 0.1), "x 0.1\n");
    IS(sample(NONE, 999999999999999.0), "x 999999999999999\n");
    IS(sample(NONE, 1e300), "x 1e+300\n");
    IS(sample(NONE, NAN), "x NaN\n");
    IS(sample(NONE, INFINITY), "x +Inf\n");
    IS(sample(NONE, -INFINITY), "x -Inf\n");
}

static void test_heads(void)
{
    rl_buf_clear(&out);
    rl_exposition_family(&out, "x", "gauge", "a \\ \"b\"\nc");
    IS(written(), "# HELP x a \\\\ \"b\"\\nc\n# TYPE x gauge\n");
}

static void test_histogram(void)
{
    rl_histogram h = {0};
    rl_buf labels = {0};

    rl_histogram_add(&h, 10);
    rl_histogram_add_times(&h, 100, 16);
    rl_histogram_add(&h, 3600000000u); /* an hour */
    rl_exposition_label(&labels, "r", RL_STR("/\"}"));
    rl_buf_clear(&out);
    rl_exposition_histogram(&out, "h", rl_buf_str(&labels), &h);
    const char *page = written();
    CHECK(strstr(page, "h_bucket{r=\"/\\\"}\",le=\"6.4e-05\"} 1\n") == page);
    CHECK(strstr(page, "h_bucket{r=\"/\\\"}\",le=\"0.000256\"} 17\n"));
    CHECK(strstr(page, "h_bucket{r=\"/\\\"}\",le=\"+Inf\"} 18\n"));
    CHECK(strstr(page, "h_sum{r=\"/\\\"}\"} 3600.00161\n"));
    CHECK(strstr(page, "h_count{r=\"/\\\"}\"} 18\n"));

    rl_buf_clear(&out);
    rl_exposition_histogram(&out, "h", RL_STR(""), &(rl_histogram){0});
    CHECK(strstr(written(), "h_bucket{le=\"6.4e-05\"} 0\n") == written());
    CHECK(strstr(written(), "h_count 0\n"));
    rl_buf_fini(&labels);
}

int main(void)
{
    test_labels();
    test_values();
    test_heads();
    test_histogram();
    rl_buf_fini(&out);
    return unit_done();
}
