/* doors.h - where a process listens: what the command line, systemd or the script say, or what
 * another process has left to it; and the keys of those that speak TLS.
 *
 * Worker 0 has the sockets that were bound, the other workers siblings of them. Main thread. */
#ifndef RL_APP_DOORS_H
#define RL_APP_DOORS_H

#include "host/certificates.h"
#include "host/report.h"
#include "host/settings.h"
#include "io/bind.h"

typedef struct rl_doors {
    rl_bindings public, admin;
    rl_bound *sockets; /* all the workers', public.n of each, one worker after another */
    char *urls[RL_MAX_SOCKETS];
    unsigned nurls;
    rl_certificates certificates;
    bool given;       /* the sockets are the workers', */
    bool admin_given; /* and those of admin its own */
} rl_doors;

/* A zeroed one is closed. Nobody can connect yet. */
int rl_doors_bind(rl_doors *d, const rl_settings *s, const rl_loaded *loaded,
                  rl_err *err) RL_MUST_USE;
/* When public and admin are known, however: names and keys. */
int rl_doors_dress(rl_doors *d, const rl_settings *s, const rl_loaded *loaded,
                   rl_err *err) RL_MUST_USE;
/* Listen, and make the siblings: all of sockets, or none. */
int rl_doors_spread(rl_doors *d, unsigned workers, rl_err *err) RL_MUST_USE;
/* The sockets of all workers are there already; takes the list. */
void rl_doors_take(rl_doors *d, rl_bound *sockets, unsigned n);
void rl_doors_close(rl_doors *d);

#endif
