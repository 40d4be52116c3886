/* settings.h - the numbers a pool goes by, from options and from the URL. */
#ifndef RL_DB_SETTINGS_H
#define RL_DB_SETTINGS_H

#include "db/db.h"

#define RL_DB_NEVER UINT64_MAX

struct rl_db_settings {    /* times in ms */
    uint64_t conn_max_age; /* RL_DB_NEVER; 0: closed at the next boundary or return */
    uint64_t idle_timeout; /* RL_DB_NEVER */
    uint64_t acquire_timeout;
    uint64_t statement_timeout;           /* 0: none */
    uint64_t idle_in_transaction_timeout; /* RL_DB_NEVER */
    uint64_t hold_warning;                /* RL_DB_NEVER */
    unsigned max_connections;             /* 0: not said, the driver fills in its default */
    unsigned min_connections;
    unsigned statement_cache_size;
    unsigned shared_connections; /* UINT_MAX: not said */
    uint64_t slow_statement;     /* RL_DB_NEVER */
    bool conn_health_checks;
    bool prepare;
    bool coalesce;
    bool pgbouncer; /* no session state */
};

typedef struct rl_db_settings rl_db_settings;

/* Read the options and the URL's query. *rest is the URL without rille's own names; yours. */
int rl_db_settings_read(rl_db_settings *s, char **rest, const rl_db_opts *opts, rl_err *err);

#endif
