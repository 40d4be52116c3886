/* metrics.h - all there is to count, as a page for Prometheus. The table is in README.md; a spec
 * holds it to this. */
#ifndef RL_ADMIN_METRICS_H
#define RL_ADMIN_METRICS_H

#include "base/buf.h"
#include "host/workers.h"
#include "core/figures.h"

/* What the main thread knows. */
typedef struct rl_process_figures {
    const rl_code *code;
    uint64_t rolled_back_by_itself;
    char why_rolled_back[200]; /* the last time of these */
    rl_history *history;
    rl_presence *presence;
    const char *unready; /* why it does not accept connections; NULL: it does */
} rl_process_figures;

void rl_metrics_write(rl_buf *out, const rl_process_figures *process, const rl_figures *workers,
                      unsigned n);

#endif
