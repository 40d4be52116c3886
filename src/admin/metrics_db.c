/* metrics_db.c - databases: their pools, what was asked and how long it took. */
#include "admin/metrics_page.h"

#include "base/exposition.h"

static const struct db_figure {
    const char *name, *type, *help;
    bool wide;
    size_t at;
} db_figures[] = {
#define F(name, type, wide, member, help)                                 \
    {                                                                     \
        "rille_db_" name, type, help, wide, offsetof(rl_db_stats, member) \
    }
    F("connections", "gauge", false, open, "Connections to the database."),
    F("idle_connections", "gauge", false, idle, "Of them, those that idle."),
    F("leased_connections", "gauge", false, leased, "Of them, those pinned by a task."),
    F("waiting", "gauge", false, waiting, "Who waits in line for a connection."),
    F("connections_opened_total", "counter", true, opened, "Connections opened."),
    F("connections_lost_total", "counter", true, closed_dead, "Connections found dead."),
    F("acquire_timeouts_total", "counter", true, timeouts, "Waits given up: acquire_timeout."),
    F("statements_total", "counter", true, statements, "Statements run."),
    F("batches_total", "counter", true, batches, "Batches of reads that shared a connection."),
    F("coalesced_reads_total", "counter", true, coalesced,
      "Of the statements, reads by key that went as one with others,"),
    F("bulk_statements_total", "counter", true, bulks, "as which so many were sent instead."),
    F("cancels_total", "counter", true, cancels, "Statements cancelled while they ran."),
#undef F
};

static const char *const db_errors[RL_DB_ERRORS] = {
    "OperationalError",           "IntegrityError",    "DataError", "ProgrammingError",
    "TransactionManagementError", "NotSupportedError",
};

static void add_database(rl_buf *out, unsigned worker, const rl_db_figures *d)
{
    rl_metrics_number(out, "worker", worker);
    rl_exposition_label(out, "database", rl_str_of(d->name));
}

#define EACH_DATABASE(p, w, d)                             \
    for (unsigned w = 0; w < (p)->n; w++)                  \
        for (const rl_db_figures *d = (p)->workers[w].dbs; \
             d && d < (p)->workers[w].dbs + (p)->workers[w].ndbs; d++)

static void write_db_histogram(const rl_metrics_page *p, const char *name, const char *help,
                               size_t at)
{
    rl_buf labels = {0};

    rl_exposition_family(p->out, name, "histogram", help);
    EACH_DATABASE(p, w, d)
    {
        const void *h = (const char *)&d->stats + at;
        rl_buf_clear(&labels);
        add_database(&labels, w, d);
        rl_exposition_histogram(p->out, name, rl_buf_str(&labels), h);
    }
    rl_buf_fini(&labels);
}

void rl_metrics_databases(const rl_metrics_page *p)
{
    for (size_t i = 0; i < RL_COUNT(db_figures); i++) {
        const struct db_figure *f = &db_figures[i];
        rl_exposition_family(p->out, f->name, f->type, f->help);
        EACH_DATABASE(p, w, d)
        {
            const void *at = (const char *)&d->stats + f->at;
            rl_exposition_begin(p->out, f->name, "");
            add_database(p->out, w, d);
            rl_exposition_end(p->out, f->wide ? (double)*(const uint64_t *)at
                                              : (double)*(const unsigned *)at);
        }
    }
    rl_exposition_family(p->out, "rille_db_errors_total", "counter", "Statements that failed.");
    EACH_DATABASE(p, w, d)
    for (unsigned i = 0; i < RL_DB_ERRORS; i++) {
        rl_exposition_begin(p->out, "rille_db_errors_total", "");
        add_database(p->out, w, d);
        rl_exposition_label(p->out, "class", rl_str_of(db_errors[i]));
        rl_exposition_end(p->out, (double)d->stats.errors[i]);
    }
    write_db_histogram(p, "rille_db_wait_seconds", "From asking to being handed a connection.",
                       offsetof(rl_db_stats, wait));
    write_db_histogram(p, "rille_db_statement_seconds", "From there to a statement's answer.",
                       offsetof(rl_db_stats, run));
    write_db_histogram(p, "rille_db_lease_seconds", "How long tasks pinned a connection.",
                       offsetof(rl_db_stats, lease));
}
