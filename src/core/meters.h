/* meters.h - what a script counts of its own (rille.metrics), one worker's.
 *
 * A meter is a family of Prometheus: a name, a type, and a sample for each set of labels. Meters
 * and samples are known by number, are never taken away, and so survive a reload of the script,
 * which declares them anew and is given the old ones. Whoever shows them takes a copy on the
 * worker's thread and merges the workers' copies into one. */
#ifndef RL_CORE_METERS_H
#define RL_CORE_METERS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/map.h"

enum {
    RL_MAX_METERS = 1000,
    RL_MAX_SAMPLES = 1000, /* of one meter: a label's values are a few, not one a user */
    RL_MAX_BOUNDS = 64,
};

typedef enum rl_meter_type { RL_METER_COUNTER, RL_METER_GAUGE, RL_METER_HISTOGRAM } rl_meter_type;

typedef struct rl_meter_sample {
    char *labels;     /* as rl_exposition_label() writes them; "": none */
    double value;     /* a histogram's: the sum of what was observed */
    uint64_t *counts; /* a histogram's, one for each bound and one above; NULL: of another type */
} rl_meter_sample;

typedef struct rl_meter {
    rl_meter_type type;
    char *name, *help;
    double *bounds; /* of a histogram's buckets, rising */
    unsigned nbounds;
    rl_meter_sample *samples;
    unsigned nsamples;
    rl_map by_labels; /* to the sample's number, plus one */
} rl_meter;

typedef struct rl_meters {
    rl_meter *at;
    unsigned n;
} rl_meters; /* zeroed: none */

void rl_meters_fini(rl_meters *all);

/* Its number, new or old; the help is the newest. -1: there is one of that name, of another type or
 * with other bounds, or there are too many. */
int rl_meters_declare(rl_meters *all, rl_meter_type type, rl_str name, rl_str help,
                      const double *bounds, unsigned nbounds, rl_err *err);
/* The number of the sample with these labels, new or old; -1: there are too many. */
int rl_meter_sample_of(rl_meter *m, rl_str labels);
/* A number more, which a histogram counts in its bucket (an upper bound belongs to it). */
void rl_meter_add(rl_meter *m, unsigned sample, double n);

/* Into an empty one. */
void rl_meters_copy(rl_meters *to, const rl_meters *from);
/* Counters and histograms are summed; a gauge is each worker's own, and says whose. What another
 * worker has declared differently (between two reloads) is left out. */
void rl_meters_merge(rl_meters *to, const rl_meters *from, unsigned worker);
void rl_meters_write(rl_buf *out, const rl_meters *all);

#endif
