/* process.h - what the system says of this process, for its metrics. */
#ifndef RL_ADMIN_PROCESS_H
#define RL_ADMIN_PROCESS_H

typedef struct rl_process_load {
    double cpu_seconds, resident, virtual, open_fds, max_fds, started_at; /* bytes; Unix time */
} rl_process_load;

void rl_process_load_read(rl_process_load *out); /* 0 for what the system does not say */

#endif
