#include "base/clock.h"

_Thread_local uint64_t rl_clock_ahead;
