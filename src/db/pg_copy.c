/* COPY on libpq's side. It hands out one row at a time, each in a block of its own; here they are
 * gathered. What it has read and not handed out is bounded by its buffer, so not asking it is
 * enough to make the server wait. */
#include "db/pg.h"

int rl_pg_copy_gather(rl_pg_copy *copy, PGconn *pg)
{
    bool looked = false;
    char *row;
    int n;

    if (copy->over)
        return -1;
    while (copy->rows.len < RL_COPY_CHUNK) {
        n = PQgetCopyData(pg, &row, 1);
        if (n > 0) {
            rl_buf_add(&copy->rows, row, (size_t)n);
            PQfreemem(row);
            continue;
        }
        if (n < 0) { /* also on an error, which is in the answer */
            copy->over = true;
            return copy->rows.len ? 1 : -1;
        }
        /* The rest of a TLS record is where no poll can see it. */
        if (looked || !PQsslInUse(pg) || !PQconsumeInput(pg))
            return 0;
        looked = true;
    }
    return 1;
}

bool rl_pg_copy_leave(rl_pg_copy *copy, PGconn *pg)
{
    bool skip = copy->way == RL_COPY_OUT && !copy->over;

    if (copy->way == RL_COPY_IN)
        PQputCopyEnd(pg, "the client gave it up");
    rl_buf_fini(&copy->rows);
    *copy = (rl_pg_copy){.way = RL_COPY_NONE};
    return skip;
}
