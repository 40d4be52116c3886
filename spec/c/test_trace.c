/* traceparent, tracestate and request ids. */
#include "unit.h"

#include "proto/trace.h"

#define ID   "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN "00f067aa0ba902b7"

static void reads_parents(void)
{
    rl_trace t;
    char text[RL_TRACE_PARENT_LEN + 1];

    CHECK(rl_trace_parse(&t, RL_STR("00-" ID "-" SPAN "-01")));
    CHECK(strcmp(t.id, ID) == 0 && strcmp(t.span, SPAN) == 0 && t.flags == 1);
    rl_trace_make_span(&t, 0xabc);
    rl_trace_text(&t, text);
    CHECK_MEM(text, strlen(text), "00-" ID "-0000000000000abc-01");
    CHECK(rl_trace_parse(&t, RL_STR("00-" ID "-" SPAN "-ff")));
    rl_trace_text(&t, text);
    CHECK_MEM(text, strlen(text), "00-" ID "-" SPAN "-01");
    /* Versions to come. */
    CHECK(rl_trace_parse(&t, RL_STR("cc-" ID "-" SPAN "-00")) && t.flags == 0);
    CHECK(rl_trace_parse(&t, RL_STR("01-" ID "-" SPAN "-01-what comes then")));
}

static void refuses_parents(void)
{
    static const char *const bad[] = {
        "",
        "00",
        "00-" ID "-" SPAN,
        "00-" ID "-" SPAN "-1",
        "00-" ID "-" SPAN "-01-",
        "00-" ID "-" SPAN "-01-more",
        "01-" ID "-" SPAN "-01more",
        "ff-" ID "-" SPAN "-01",
        "0g-" ID "-" SPAN "-01",
        "00-" ID "-" SPAN "-0G",
        "00_" ID "-" SPAN "-01",
        "00-" ID "_" SPAN "-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01",
        "00-00000000000000000000000000000000-" SPAN "-01",
        "00-" ID "-0000000000000000-01",
        " 00-" ID "-" SPAN "-01",
    };
    rl_trace t = {.flags = 9};

    for (size_t i = 0; i < RL_COUNT(bad); i++)
        CHECK(!rl_trace_parse(&t, rl_str_of(bad[i])));
    CHECK_INT(t.flags, 9);
}

static void makes_ids(void)
{
    rl_trace t;

    rl_trace_make_id(&t, 0, 0);
    CHECK(strcmp(t.id, "00000000000000000000000000000001") == 0);
    rl_trace_make_id(&t, UINT64_MAX, 5);
    CHECK(strcmp(t.id, "ffffffffffffffff0000000000000005") == 0);
    rl_trace_make_span(&t, 0);
    CHECK(strcmp(t.span, "0000000000000001") == 0);
}

static void judges_states_and_names(void)
{
    char many[80] = "a=1", longer[600];

    CHECK(rl_trace_state_valid(RL_STR("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")));
    CHECK(!rl_trace_state_valid(RL_STR("")) && !rl_trace_state_valid(RL_STR("a=\xc3\xa9")));
    for (int i = 0; i < 31; i++)
        strcat(many, ",b");
    CHECK(rl_trace_state_valid(rl_str_of(many)));
    strcat(many, ",b");
    CHECK(!rl_trace_state_valid(rl_str_of(many)));
    memset(longer, 'a', sizeof(longer));
    CHECK(rl_trace_state_valid((rl_str){longer, 512}));
    CHECK(!rl_trace_state_valid((rl_str){longer, 513}));

    CHECK(rl_trace_request_id_valid(RL_STR("7f3c-A_b.c~d+e/f=g:h@i")));
    CHECK(rl_trace_request_id_valid((rl_str){longer, 128}));
    CHECK(!rl_trace_request_id_valid((rl_str){longer, 129}));
    CHECK(!rl_trace_request_id_valid(RL_STR("")));
    CHECK(!rl_trace_request_id_valid(RL_STR("a b")) && !rl_trace_request_id_valid(RL_STR("a\"")));
    CHECK(!rl_trace_request_id_valid(RL_STR("a\n")) && !rl_trace_request_id_valid(RL_STR("\xc3\xa9")));
}

int main(void)
{
    reads_parents();
    refuses_parents();
    makes_ids();
    judges_states_and_names();
    return unit_done();
}
