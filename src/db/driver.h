/* driver.h - what a backend does for the pool: dial, run one statement, cancel, close.
 *
 * A connection answers to exactly one owner, through events. They come from the loop, never
 * from inside a call into the driver, and each is the last thing the driver does at that
 * moment, so the owner may call back in. A connection's life:
 *
 *   dial -> opened -> (run -> done | batch -> part* -> batch_done)* -> close -> closed
 *
 * `lost` may come at any point before close, once: it ends the dialling, the statement
 * under way or the idling, and the owner then closes. After close only `closed` comes. */
#ifndef RL_DB_DRIVER_H
#define RL_DB_DRIVER_H

#include "db/db.h"

typedef struct rl_conn rl_conn;
typedef struct rl_driver rl_driver;
typedef struct rl_db_settings rl_db_settings;

typedef enum rl_txn { RL_TXN_NONE, RL_TXN_OPEN, RL_TXN_FAILED } rl_txn;

typedef struct rl_conn_events {
    void (*opened)(void *owner);
    /* Exactly one of result and err is NULL; the result is the owner's. */
    void (*done)(void *owner, rl_result *result, const rl_err *err);
    /* What a statement of a batch gave, in their order: a result (the owner's), an error, or
     * neither when it was not executed because one before it failed. More follows: the owner must
     * not call back in. */
    void (*part)(void *owner, rl_result *result, const rl_err *err);
    void (*batch_done)(void *owner);
    /* `sent`: the statement under way may have reached the server. */
    void (*lost)(void *owner, const rl_err *why, bool sent);
    void (*closed)(void *owner); /* the rl_conn is gone */
    /* Somebody said something on a channel that is listened to. NULL: of no interest. */
    void (*notified)(void *owner, rl_str channel, rl_str payload, int pid);
    /* A statement that is a COPY: rows have come, or (no rows) there is room for some. */
    void (*copied)(void *owner, rl_str rows);
} rl_conn_events;

struct rl_conn { /* embedded first in the driver's own struct */
    const rl_conn_events *events;
    void *owner;
    rl_txn txn; /* as of the last statement that ended */
};

struct rl_driver {
    const char *backend;
    bool can_listen; /* LISTEN works, and `notified` comes of it */
    bool one_writer; /* one connection may write at a time: those who will wait for their turn in
                        line, and leave the other connections to those who read */

    /* Check what follows the scheme, without rille's own settings, and make what dial needs of
     * it. May correct the settings. *display is what to call it, without password; the caller's. */
    int (*config)(void **conf, char **display, const char *url, rl_db_settings *s, rl_err *err);
    void (*config_free)(void *conf);

    /* NULL when it fails at once, with err filled. */
    rl_conn *(*dial)(void *conf, rl_loop *loop, const rl_conn_events *events, void *owner,
                     rl_err *err);

    /* One statement at a time; st lives until done or lost. False: nothing was sent and the
     * connection is useless. */
    bool (*run)(rl_conn *c, const rl_statement *st);

    /* Several statements at once, all or those up to an error; the session must be read-only.
     * They need not outlive the call. NULL: the backend lacks it. False: as of run. */
    bool (*batch)(rl_conn *c, const rl_statement *const *sts, unsigned n);

    /* Ask for what runs to be given up; done comes all the same, and not before the request
     * can no longer hit a later statement. */
    void (*cancel)(rl_conn *c);

    /* After `copied`, one of these; NULL without COPY. False: the connection is useless. */
    bool (*copy_more)(rl_conn *c);
    bool (*copy_write)(rl_conn *c, rl_str rows);
    bool (*copy_end)(rl_conn *c);

    /* Forget session state, answered by done. False: not possible, close it. */
    bool (*reset)(rl_conn *c);

    /* Look, without waiting, whether an idle connection has been closed by the server. */
    bool (*alive)(rl_conn *c);

    void (*close)(rl_conn *c);
};

extern const rl_driver rl_driver_pg;
extern const rl_driver rl_driver_sqlite;

/* A result is the driver's own struct with this first. */
typedef struct rl_result_ops {
    const char *(*name)(const rl_result *r, unsigned col);
    rl_value (*cell)(const rl_result *r, unsigned row, unsigned col);
    void (*free)(rl_result *r);
} rl_result_ops;

struct rl_result {
    const rl_result_ops *ops;
    unsigned rows, cols;
    uint64_t affected;
};

#endif
