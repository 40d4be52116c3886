/* metrics_page.h - a scrape under way, for the files that write it: metrics.c (the process, its
 * workers, limits), metrics_routes.c, metrics_db.c. */
#ifndef RL_ADMIN_METRICS_PAGE_H
#define RL_ADMIN_METRICS_PAGE_H

#include "admin/metrics.h"

typedef struct rl_metrics_page {
    rl_buf *out;
    const rl_figures *workers;
    unsigned n;
} rl_metrics_page;

/* A label that is a number. */
void rl_metrics_number(rl_buf *out, const char *name, unsigned n);

void rl_metrics_routes(const rl_metrics_page *p); /* summed over the workers */
void rl_metrics_databases(const rl_metrics_page *p);

#endif
