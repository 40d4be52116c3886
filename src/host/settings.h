/* settings.h - what the command line and the environment say.
 *
 * Strongest first: a flag, an environment variable, the script's table, the default. Here are the
 * first two; the script's own are read when it is loaded. */
#ifndef RL_HOST_SETTINGS_H
#define RL_HOST_SETTINGS_H

#include "host/certificates.h"
#include "host/commands.h"
#include "base/err.h"
#include "base/log.h"

#define RL_MAX_ADDRESSES 16
#define RL_MAX_LIMITS    64

/* Strings are argv's or the environment's. */
typedef struct rl_settings {
    rl_command command;
    const char *help_for; /* the command that help is about; NULL: all */
    const char *app;
    char **argv; /* as it was given */
    const char *listen[RL_MAX_ADDRESSES];
    unsigned nlisten;    /* 0: the script's, or 127.0.0.1:8000 */
    const char *admin;   /* NULL: the script's, or none */
    const char *control; /* path of its control socket, or of the one to ask; NULL: the default */
    const char *program; /* UPGRADE: to be started instead; NULL: the same file */
    const char *worker;  /* ATTACH: its number; NULL: any */
    bool json;           /* STATUS */
    rl_tls_wishes tls;
    const char *database;
    const char *mqtt;                      /* NULL: the script's, or none */
    const char *trusted[RL_MAX_ADDRESSES]; /* proxies, by networks; none: the script's */
    unsigned ntrusted;
    const char *root_path; /* NULL: the script's */
    const char *layer;
    const char *only_channels; /* names; NULL: serve everything */
    bool no_channels;
    bool watch;
    bool migrate;
    bool access_log;
    double drain_timeout;              /* seconds */
    double drain_jitter;               /* seconds; negative: half of drain_timeout */
    uint16_t drain_code;               /* of the close frame of WebSockets: 1001 or 1012 */
    double memory_limit;               /* MiB; 0: the script's, or the default */
    const char *limits[RL_MAX_LIMITS]; /* "NAME=VALUE", the weakest first */
    unsigned nlimits;
    unsigned workers; /* 0: the script's word counts, or the default */
    rl_log_level log_level;
    rl_log_format log_format;
    char *send[2]; /* SEND: the group and the message */
    char **rest;   /* TEST: what busted gets; SEND: the same two; TOOL: its name and its words */
    int nrest;
} rl_settings;

/* Negative, with one sentence, on wrong arguments. */
int rl_settings_read(rl_settings *s, int argc, char **argv, rl_err *err) RL_MUST_USE;

/* Files of the script are watched. */
static inline bool rl_settings_watch(const rl_settings *s)
{
    return s->watch || s->command == RL_CMD_DEV;
}

#endif
