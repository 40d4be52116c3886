/* report.h - what a worker's thread tells the main one, as calls on the main loop.
 *
 * A report is made and filled on the worker's thread, sent once, and freed on the other side, or
 * freed unsent. */
#ifndef RL_HOST_REPORT_H
#define RL_HOST_REPORT_H

#include "io/loop.h"

#define RL_HASH_SIZE 16 /* of a generation's, as text, with its end */

/* What may become of the code that serves (lua/rille/generations.lua). */
typedef enum rl_change { RL_CHANGE_LOAD, RL_CHANGE_ROLLBACK, RL_CHANGE_PROMOTE } rl_change;

/* When it is to be rolled back by itself (lua/rille/probation.lua). */
typedef struct rl_probation_rule {
    double errors;     /* a part of all events; 0: never */
    uint64_t within;   /* ms */
    uint64_t at_least; /* events */
} rl_probation_rule;

/* What loading a script brings to light. */
typedef struct rl_loaded {
    char **files;   /* everything that was read */
    char **digests; /* of what each held */
    size_t nfiles;
    char **listen; /* the script's own addresses */
    size_t nlisten;
    char *admin;   /* and the one for admin; NULL: none */
    char *control; /* where its control socket is to be, or "off"; NULL: the default */
    char **tls;    /* what it wants of TLS, in words of the command line */
    size_t ntls;
    unsigned workers;          /* how many the script wants; 0: it says nothing */
    uint64_t patience;         /* ms that a reload may take */
    uint64_t publish_patience; /* and a message from outside */
    rl_probation_rule probation;
    unsigned generation; /* 0: staged, not serving yet */
    unsigned previous;   /* once it serves: what can be returned to; 0: nothing */
    bool trial;          /* and whether that serves, too */
    char hash[RL_HASH_SIZE];
} rl_loaded;

typedef enum rl_news {
    RL_NEWS_LOADED,    /* for the first time, and committed */
    RL_NEWS_PREPARED,  /* the tables are there */
    RL_NEWS_STARTED,   /* on_start has ended */
    RL_NEWS_SERVING,   /* connections are accepted */
    RL_NEWS_STAGED,    /* or not: then with a text */
    RL_NEWS_COMMITTED, /* or not: then with a text */
    RL_NEWS_USED,      /* a file, named by the text: while files are watched */
    RL_NEWS_PRINTED,   /* what a command has to say */
    RL_NEWS_FAILED,    /* it cannot go on; stops by itself */
    RL_NEWS_STOPPED,   /* the thread is about to end */
} rl_news;

typedef struct rl_report rl_report;

/* To whom, and from which worker. */
typedef struct rl_reporter {
    rl_loop *main;
    void (*fn)(void *arg, const rl_report *rep); /* on the main thread */
    void *arg;
    unsigned worker;
} rl_reporter;

struct rl_report {
    rl_post post;
    const rl_reporter *from;
    rl_news news;
    rl_loaded loaded; /* the strings are the report's */
    char *text;       /* the report's; NULL: none */
    uint64_t sum;     /* USED: what the file held (io/watch.h) */
    int status;
    unsigned attempt; /* STAGED: which one (rl_runner_stage) */
};

rl_report *rl_report_new(const rl_reporter *from, rl_news news);
void rl_report_send(rl_report *rep); /* takes it */
void rl_report_free(rl_report *rep);

/* One with nothing but a text (copied; NULL: none). */
void rl_report_tell(const rl_reporter *from, rl_news news, const char *text);

#endif
