/* err.h - what went wrong, in a shape both C and Lua can hold.
 *
 * A function that can fail returns 0 or a negative code and, when it takes an
 * rl_err *, fills it exactly when it returns negative. Codes of the system are
 * negated errno values, as libuv's are; ours start at RL_EFIRST, outside their
 * range. The same object becomes the Lua error: `kind` picks its class. */
#ifndef RL_BASE_ERR_H
#define RL_BASE_ERR_H

#include "base/base.h"

#include <stdarg.h>

enum {
    RL_EFIRST = -5000,
    RL_EPROTO = RL_EFIRST, /* the peer broke the protocol */
    RL_EUTF8,              /* text that is not UTF-8 */
    RL_ETOOBIG,            /* over a limit */
    RL_EUNSUPPORTED,       /* understood, but not done here */
    RL_ECLOSED,            /* the connection is gone */
    RL_ECANCELLED,         /* the task was cancelled */
    RL_ETIMEOUT,           /* a deadline passed */
    RL_ESYNTAX,            /* words we were given make no sense */
    RL_ESCRIPT,            /* a Lua error; msg holds its first line */
    RL_EMQTT,              /* the MQTT broker or the way to it, or a message that is none */
    /* Databases. The names are Django's. */
    RL_EOPERATIONAL,  /* the server or the way to it: down, lost, busy, timed out */
    RL_EINTEGRITY,    /* a constraint said no (SQLSTATE class 23) */
    RL_EDATA,         /* a value did not fit (class 22) */
    RL_EPROGRAMMING,  /* the statement is wrong (class 42 and our own misuse) */
    RL_ETRANSACTION,  /* not now: the transaction's state forbids it */
    RL_ENOTSUPPORTED, /* this backend lacks it */
    /* Redis. */
    RL_EREDIS,       /* it refused; msg begins with its code */
    RL_EREDIS_DOWN,  /* no connection: it did not run */
    RL_EREDIS_DOUBT, /* the connection, or patience, ended meanwhile: it may have run */
};

typedef struct rl_err {
    int code;            /* negative once set */
    char sqlstate[6];    /* "" unless the database sent one */
    char constraint[64]; /* "" unless the database named one */
    char detail[160];    /* "" unless the database told more */
    char msg[272];       /* one line, no newline, always terminated */
} rl_err;

/* Fill *err (which may be NULL) and return code, so that a failure reads
 * `return rl_err_set(err, -EINVAL, "port %d", port);`. */
int rl_err_set(rl_err *err, int code, const char *fmt, ...) RL_PRINTF(3, 4);
int rl_err_vset(rl_err *err, int code, const char *fmt, va_list args) RL_PRINTF(3, 0);

#endif
