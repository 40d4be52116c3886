/* channels.h - the background channels that this worker receives from: a name of its layer, whose
 * messages go into the process's line of that name (layer/line.h), and what takes them from there.
 *
 * Taking, and doing what was taken, are two waits of a task in Lua (lua/rille/channels.lua), which
 * also says what becomes of what failed. */
#ifndef RL_CORE_CHANNELS_H
#define RL_CORE_CHANNELS_H

#include "core/background.h"
#include "layer/line.h"

typedef struct rl_named {
    rl_list link; /* on worker->named */
    rl_worker *worker;
    rl_line *line;
    rl_channel *channel;
    char *name;
    uint64_t untold, told_at; /* drops that the log has not told of; ms on the loop's clock */
} rl_named;

/* There is one of a name; opening it again only configures it. */
rl_named *rl_named_open(rl_worker *w, rl_str name, unsigned capacity, bool drop_oldest);
rl_named *rl_named_find(rl_worker *w, rl_str name); /* NULL: it is not open here */
/* The last one in the process loses what waits, which is counted and logged. */
void rl_named_close(rl_named *n);
void rl_named_close_all(rl_worker *w);

/* A message of the layer: false, when it was dropped. */
bool rl_named_put(rl_named *n, rl_str body);

#endif
