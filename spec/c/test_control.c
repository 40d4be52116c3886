/* Frames of a control socket. */
#include "unit.h"

#include "proto/control.h"

static void round_trip(void)
{
    rl_control_frame f;
    rl_buf b = {0};

    rl_control_put(&b, RL_CONTROL_EVAL, RL_STR("1 + 1"));
    rl_control_put(&b, RL_CONTROL_INTERRUPT, RL_STR(""));
    for (size_t i = 0; i < 10; i++)
        CHECK_INT(rl_control_take((rl_str){b.data, i}, &f), 0);
    CHECK_INT(rl_control_take(rl_buf_str(&b), &f), 10);
    CHECK_INT(f.kind, 'e');
    CHECK_MEM(f.payload.p, f.payload.n, "1 + 1");
    rl_buf_consume(&b, 10);
    CHECK_INT(rl_control_take(rl_buf_str(&b), &f), 5);
    CHECK_INT(f.kind, 'i');
    CHECK_INT(f.payload.n, 0);
    rl_buf_fini(&b);
}

static void refuses(void)
{
    rl_control_frame f;

    CHECK_INT(rl_control_take((rl_str){"\0\0\0\0r", 5}, &f), RL_EPROTO);
    CHECK_INT(rl_control_take((rl_str){"GET /", 5}, &f), RL_ETOOBIG);
    CHECK_INT(rl_control_take((rl_str){"\xff\xff\xff\xff", 4}, &f), RL_ETOOBIG);
    CHECK_INT(rl_control_take((rl_str){"\0\x10\0\1", 4}, &f), RL_ETOOBIG);
    CHECK_INT(rl_control_take((rl_str){"\0\x10\0\0", 4}, &f), 0);
}

static void cuts_what_is_too_long(void)
{
    char *much = rl_calloc(1, RL_CONTROL_MAX + 10);
    rl_control_frame f;
    rl_buf b = {0};

    rl_control_put(&b, RL_CONTROL_OUTPUT, (rl_str){much, RL_CONTROL_MAX + 10});
    CHECK_INT(rl_control_take(rl_buf_str(&b), &f), RL_CONTROL_MAX + 4);
    CHECK_INT(f.payload.n, RL_CONTROL_MAX - 1);
    rl_buf_fini(&b);
    rl_free(much);
}

int main(void)
{
    round_trip();
    refuses();
    cuts_what_is_too_long();
    return unit_done();
}
