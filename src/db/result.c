#include "db/driver.h"

unsigned rl_result_rows(const rl_result *r)
{
    return r->rows;
}

unsigned rl_result_cols(const rl_result *r)
{
    return r->cols;
}

const char *rl_result_col_name(const rl_result *r, unsigned col)
{
    RL_CHECK(col < r->cols);
    return r->ops->name(r, col);
}

rl_value rl_result_cell(const rl_result *r, unsigned row, unsigned col)
{
    RL_CHECK(row < r->rows && col < r->cols);
    return r->ops->cell(r, row, col);
}

uint64_t rl_result_affected(const rl_result *r)
{
    return r->affected;
}

void rl_result_free(rl_result *r)
{
    if (r)
        r->ops->free(r);
}
