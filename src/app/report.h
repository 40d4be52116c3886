/* report.h - what the worker's thread tells the main one, as calls on the main loop.
 *
 * A report is made and filled on the worker's thread, sent once, and freed on the other side, or
 * freed unsent. */
#ifndef RL_APP_REPORT_H
#define RL_APP_REPORT_H

#include "io/loop.h"

/* What loading a script brings to light. */
typedef struct rl_loaded {
    char **files; /* everything that was read */
    size_t nfiles;
    char **listen; /* the script's own addresses */
    size_t nlisten;
    unsigned generation; /* 0: staged, not serving yet */
} rl_loaded;

/* On the main thread. Texts are borrowed for the call. */
typedef struct rl_runner_events {
    void (*on_loaded)(void *arg, const rl_loaded *loaded); /* the first load: now listen */
    void (*on_serving)(void *arg);                         /* connections are accepted */
    void (*on_reloaded)(void *arg, const rl_loaded *loaded);
    void (*on_reload_failed)(void *arg, const char *text); /* the old code serves on */
    void (*on_printed)(void *arg, const char *text);       /* what a command has to say */
    void (*on_failed)(void *arg, const char *text);        /* it cannot go on; stops by itself */
    void (*on_stopped)(void *arg, int status);             /* the thread is about to end */
} rl_runner_events;

/* To whom. */
typedef struct rl_reporter {
    rl_loop *main;
    rl_runner_events events;
    void *arg;
} rl_reporter;

typedef enum rl_news {
    RL_NEWS_LOADED,
    RL_NEWS_SERVING,
    RL_NEWS_RELOADED,
    RL_NEWS_RELOAD_FAILED,
    RL_NEWS_PRINTED,
    RL_NEWS_FAILED,
    RL_NEWS_STOPPED,
} rl_news;

typedef struct rl_report {
    rl_post post;
    const rl_reporter *to;
    rl_news news;
    rl_loaded loaded; /* the strings are the report's */
    char *text;       /* the report's */
    int status;
} rl_report;

rl_report *rl_report_new(const rl_reporter *to, rl_news news);
void rl_report_send(rl_report *rep); /* takes it */
void rl_report_free(rl_report *rep);

/* One with nothing but a text (copied; NULL: none). */
void rl_report_tell(const rl_reporter *to, rl_news news, const char *text);

#endif
