/* status.h - what `rille status` shows of a process: for people, and as JSON for programs. */
#ifndef RL_CONTROL_STATUS_H
#define RL_CONTROL_STATUS_H

#include "admin/metrics.h"
#include "host/settings.h"

typedef struct rl_status {
    const rl_settings *settings;
    const rl_process_figures *process;
    const rl_code *code;
    char *const *urls; /* where it listens */
    unsigned nurls;
    double uptime;             /* seconds */
    const rl_figures *workers; /* not there: no answer */
    unsigned n;
} rl_status;

void rl_status_text(rl_buf *out, const rl_status *s);
void rl_status_json(rl_buf *out, const rl_status *s);

#endif
