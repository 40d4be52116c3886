/* The SQL of reads, kept once. */
#include "unit.h"

#include "db/text.h"

#include <string.h>

static rl_str many = {"SELECT 1 WHERE 1 = ANY($1)", 26};

static void keeps_one_copy(void)
{
    rl_texts ts = {0};
    char sql[] = "SELECT 1";
    rl_text *a = rl_texts_take(&ts, rl_str_of(sql), many);
    rl_text *b = rl_texts_take(&ts, rl_str_of(sql), many);

    CHECK(a && a == b);
    CHECK(a->sql.p != sql && a->many.p != many.p);
    CHECK(strcmp(a->sql.p, "SELECT 1") == 0);
    rl_text_drop(a);
    rl_text_drop(b);
    rl_texts_fini(&ts);
}

/* A place may hold another text, and one that is held outlives it. */
static void compares_all_of_it(void)
{
    rl_texts ts = {0};
    char sql[] = "SELECT 1";
    rl_text *one = rl_texts_take(&ts, rl_str_of(sql), many);
    rl_text *alone = rl_texts_take(&ts, rl_str_of(sql), (rl_str){0});

    sql[7] = '2';
    rl_text *two = rl_texts_take(&ts, rl_str_of(sql), (rl_str){0});
    CHECK(one != alone && alone != two);
    CHECK(strcmp(one->sql.p, "SELECT 1") == 0 && one->many.n == many.n);
    CHECK(strcmp(alone->sql.p, "SELECT 1") == 0 && alone->many.n == 0 && *alone->many.p == '\0');
    CHECK(strcmp(two->sql.p, "SELECT 2") == 0);
    rl_texts_fini(&ts);
    CHECK(strcmp(two->sql.p, "SELECT 2") == 0);
    rl_text_drop(one);
    rl_text_drop(alone);
    rl_text_drop(two);
}

static void refuses_a_nul(void)
{
    rl_texts ts = {0};

    CHECK(rl_texts_take(&ts, (rl_str){"SELECT\0001", 8}, many) == NULL);
    rl_texts_fini(&ts);
}

static void knows_who_is_quick(void)
{
    rl_texts ts = {0};
    rl_paces paces = {0};
    rl_text *t = rl_texts_take(&ts, RL_STR("SELECT 1"), many);

    for (int i = 0; i < 3; i++) {
        CHECK(!rl_text_is_quick(t, &paces));
        rl_paces_learn(&paces, t->sql, 100);
    }
    CHECK(rl_text_is_quick(t, &paces));
    for (int i = 0; i < 4; i++)
        rl_paces_learn(&paces, t->sql, 10 * RL_PACE_QUICK);
    CHECK(!rl_text_is_quick(t, &paces));
    for (int i = 0; i < 20; i++)
        rl_paces_learn(&paces, t->sql, 100);
    CHECK(rl_text_is_quick(t, &paces));
    for (int i = 0; i < 1024; i++) { /* more than are remembered: all are forgotten */
        char sql[32];
        snprintf(sql, sizeof(sql), "SELECT %d + 1", i);
        rl_paces_learn(&paces, rl_str_of(sql), 100);
    }
    CHECK(!rl_text_is_quick(t, &paces));
    rl_text_drop(t);
    rl_texts_fini(&ts);
    rl_paces_fini(&paces);
}

int main(void)
{
    keeps_one_copy();
    compares_all_of_it();
    refuses_a_nul();
    knows_who_is_quick();
    return unit_done();
}
