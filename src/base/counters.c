#include "base/counters.h"

#include "base/base.h"

const rl_counter_info rl_counter_infos[] = {
#define RL_X(name, what) {#name, what, offsetof(rl_counters, name)},
    RL_COUNTERS(RL_X)
#undef RL_X
};

const size_t rl_counter_count = RL_COUNT(rl_counter_infos);
