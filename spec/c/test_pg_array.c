/* Arrays as PostgreSQL writes them, and the values in them. */
#include "unit.h"

#include "db/pg_array.h"

#include <math.h>

/* What the tokens come to: "[" and "]" for lists, "<item>", "-" for NULL, "." at the end, "!". */
static const char *trace(const char *text, char delimiter)
{
    static rl_buf out;
    rl_pg_array a;
    rl_pg_token token;

    rl_buf_clear(&out);
    rl_pg_array_init(&a, rl_str_of(text), delimiter);
    do {
        token = rl_pg_array_next(&a);
        switch (token) {
        case RL_PG_OPEN:
            rl_buf_add_c(&out, '[');
            break;
        case RL_PG_CLOSE:
            rl_buf_add_c(&out, ']');
            break;
        case RL_PG_ITEM:
            CHECK(a.item.data && a.item.data[a.item.len] == '\0');
            rl_buf_printf(&out, "<%s>", a.item.data);
            break;
        case RL_PG_NULL:
            rl_buf_add_c(&out, '-');
            break;
        case RL_PG_BAD:
            rl_buf_add_c(&out, '!');
            CHECK(rl_pg_array_next(&a) == RL_PG_BAD);
            break;
        case RL_PG_END:
            rl_buf_add_c(&out, '.');
            break;
        }
    } while (token != RL_PG_BAD && token != RL_PG_END);
    rl_pg_array_fini(&a);
    return rl_buf_cstr(&out);
}

#define READS(text, want) CHECK_MEM(trace(text, ','), strlen(trace(text, ',')), want)

static void reads_lists(void)
{
    READS("{}", "[].");
    READS("{1}", "[<1>].");
    READS("{1,-2,3.5}", "[<1><-2><3.5>].");
    READS("{{1,2},{3,4}}", "[[<1><2>][<3><4>]].");
    READS("{{{{{{x}}}}}}", "[[[[[[<x>]]]]]].");
    READS("{2026-01-02 03:04}", "[<2026-01-02 03:04>].");
}

static void reads_bounds(void)
{
    READS("[2:3]={1,2}", "[<1><2>].");
    READS("[-1:0][5:6]={{1,2},{3,4}}", "[[<1><2>][<3><4>]].");
    READS("[2:3]", "!");
    READS("[2:3={1,2}", "!");
    READS("[a:b]={1}", "!");
    READS("[2:3]=", "!");
    READS("[", "!");
}

static void reads_quotes_and_nulls(void)
{
    READS("{\"\"}", "[<>].");
    READS("{\"a b\",\"{}\",\",\"}", "[<a b><{}><,>].");
    READS("{\"\\\"\",\"\\\\x00\"}", "[<\"><\\x00>].");
    READS("{NULL,\"NULL\",null,NULLS,nul}", "[-<NULL>-<NULLS><nul>].");
    READS("{\"\n\t\"}", "[<\n\t>].");
    CHECK(strcmp(trace("{(1,1),(0,0);(2,2),(1,1)}", ';'), "[<(1,1),(0,0)><(2,2),(1,1)>].") == 0);
}

static void refuses_what_is_none(void)
{
    static const char *const bad[] = {
        "",    "1",        "{",      "}",     "{1",    "{1,",    "{1,}", "{,1}",
        "{\"", "{\"a",     "{\"\\",  "{1}2",  "{}{}",  "{{1}",   "{1}}", "{\"a\"b}",
        "a{}", "{a\"b\"}", "{1,,2}", "{{}1}", "{a{}}", "{\\\\}", " {}",  "{{{{{{{x}}}}}}}",
    };

    for (size_t i = 0; i < RL_COUNT(bad); i++) {
        const char *got = trace(bad[i], ',');
        CHECK(got[strlen(got) - 1] == '!');
        if (got[strlen(got) - 1] != '!')
            printf("  %s gave %s\n", bad[i], got);
    }
}

static rl_value value(rl_kind kind, const char *text)
{
    static char copy[100];

    snprintf(copy, sizeof(copy), "%s", text);
    return rl_pg_read(kind, copy, strlen(copy));
}

static void reads_values(void)
{
    CHECK(value(RL_INT, "9223372036854775807").i == INT64_MAX);
    CHECK(value(RL_INT, "-9223372036854775808").i == INT64_MIN);
    CHECK(value(RL_INT, "0").i == 0 && value(RL_BOOL, "t").i == 1 && value(RL_BOOL, "f").i == 0);
    CHECK(value(RL_FLOAT, "-Infinity").f == -INFINITY && isnan(value(RL_FLOAT, "NaN").f));
    CHECK(value(RL_FLOAT, "5e-324").f == 5e-324);
    rl_value v = value(RL_BYTES, "\\x00fFa0");
    CHECK(v.s.n == 3 && memcmp(v.s.p, "\0\xff\xa0", 3) == 0);
    CHECK(value(RL_BYTES, "\\x").s.n == 0 && value(RL_BYTES, "").s.n == 0);
    v = value(RL_NUMERIC, "1.50");
    CHECK(v.kind == RL_NUMERIC && rl_str_eq(v.s, RL_STR("1.50")));
}

int main(void)
{
    reads_lists();
    reads_bounds();
    reads_quotes_and_nulls();
    refuses_what_is_none();
    reads_values();
    return unit_done();
}
