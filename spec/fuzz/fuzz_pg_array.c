/* The text of arrays. What was read, written again with every element quoted, reads the same. */
#include "fuzz.h"

#include "db/pg_array.h"

#define MUST(cond) ((cond) ? (void)0 : (fprintf(stderr, "not so: %s\n", #cond), abort()))

static void write_item(rl_buf *out, const rl_pg_array *a)
{
    rl_buf_add_c(out, '"');
    for (size_t i = 0; i < a->item.len; i++) {
        if (strchr("\"\\", a->item.data[i]) && a->item.data[i])
            rl_buf_add_c(out, '\\');
        rl_buf_add_c(out, a->item.data[i]);
    }
    rl_buf_add_c(out, '"');
}

/* False: no array. The values are read as if of every kind, and forgotten. */
static bool rewrite(rl_buf *out, rl_str in, char delimiter)
{
    rl_pg_array a;
    rl_pg_token token;
    unsigned depth = 0;
    bool first = true;

    rl_pg_array_init(&a, in, delimiter);
    while ((token = rl_pg_array_next(&a)) != RL_PG_END && token != RL_PG_BAD) {
        if (token != RL_PG_CLOSE && !first)
            rl_buf_add_c(out, delimiter);
        first = token == RL_PG_OPEN;
        depth += token == RL_PG_OPEN;
        depth -= token == RL_PG_CLOSE;
        MUST(depth == a.depth && depth <= RL_PG_ARRAY_DEPTH);
        if (token == RL_PG_OPEN)
            rl_buf_add_c(out, '{');
        else if (token == RL_PG_CLOSE)
            rl_buf_add_c(out, '}');
        else if (token == RL_PG_NULL)
            rl_buf_add(out, "NULL", 4);
        else
            write_item(out, &a);
        for (int kind = RL_BOOL; token == RL_PG_ITEM && kind < RL_ARRAY; kind++) {
            rl_value v = rl_pg_read((rl_kind)kind, a.item.data, strlen(a.item.data));
            MUST(v.kind < RL_TEXT || v.s.n <= a.item.len);
        }
    }
    MUST(token == RL_PG_BAD || depth == 0);
    rl_pg_array_fini(&a);
    return token == RL_PG_END;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rl_str in = {(const char *)data, size};

    for (int i = 0; i < 2; i++) {
        rl_buf once = {0}, twice = {0};
        if (rewrite(&once, in, ",;"[i])) {
            MUST(rewrite(&twice, rl_buf_str(&once), ",;"[i]));
            MUST(rl_str_eq(rl_buf_str(&once), rl_buf_str(&twice)));
        }
        rl_buf_fini(&once);
        rl_buf_fini(&twice);
    }
    return 0;
}
