#include "core/meters.h"

#include "base/exposition.h"

#include <stdio.h>
#include <string.h>

static const char *const type_names[] = {
    [RL_METER_COUNTER] = "counter",
    [RL_METER_GAUGE] = "gauge",
    [RL_METER_HISTOGRAM] = "histogram",
};

void rl_meters_fini(rl_meters *all)
{
    for (unsigned i = 0; i < all->n; i++) {
        rl_meter *m = &all->at[i];
        for (unsigned s = 0; s < m->nsamples; s++) {
            rl_free(m->samples[s].labels);
            rl_free(m->samples[s].counts);
        }
        rl_map_fini(&m->by_labels);
        rl_free(m->samples);
        rl_free(m->bounds);
        rl_free(m->name);
        rl_free(m->help);
    }
    rl_free(all->at);
    *all = (rl_meters){0};
}

static int known(const rl_meters *all, rl_str name)
{
    for (unsigned i = 0; i < all->n; i++)
        if (rl_str_eq(rl_str_of(all->at[i].name), name))
            return (int)i;
    return -1;
}

static bool is_alike(const rl_meter *m, rl_meter_type type, const double *bounds, unsigned nbounds)
{
    return m->type == type && m->nbounds == nbounds &&
           (nbounds == 0 || memcmp(m->bounds, bounds, nbounds * sizeof(*bounds)) == 0);
}

int rl_meters_declare(rl_meters *all, rl_meter_type type, rl_str name, rl_str help,
                      const double *bounds, unsigned nbounds, rl_err *err)
{
    int old = known(all, name);

    if (old >= 0) {
        rl_meter *m = &all->at[old];
        if (!is_alike(m, type, bounds, nbounds))
            return rl_err_set(err, RL_ESYNTAX, "the metric %s is already a %s%s", m->name,
                              type_names[m->type], m->type == type ? " with other buckets" : "");
        rl_free(m->help);
        m->help = rl_strndup(help.p, help.n);
        return old;
    }
    if (all->n == RL_MAX_METERS)
        return rl_err_set(err, RL_ESYNTAX, "there are %d metrics already", RL_MAX_METERS);
    all->at = rl_realloc(all->at, (all->n + 1) * sizeof(*all->at));
    rl_meter *m = &all->at[all->n];
    *m = (rl_meter){
        .type = type, .name = rl_strndup(name.p, name.n), .help = rl_strndup(help.p, help.n)};
    if (nbounds) {
        m->bounds = rl_malloc(nbounds * sizeof(*bounds));
        memcpy(m->bounds, bounds, nbounds * sizeof(*bounds));
        m->nbounds = nbounds;
    }
    return (int)all->n++;
}

int rl_meter_sample_of(rl_meter *m, rl_str labels)
{
    uintptr_t number = (uintptr_t)rl_map_get(&m->by_labels, labels);

    if (number)
        return (int)number - 1;
    if (m->nsamples == RL_MAX_SAMPLES)
        return -1;
    m->samples = rl_realloc(m->samples, (m->nsamples + 1) * sizeof(*m->samples));
    rl_meter_sample *s = &m->samples[m->nsamples++];
    *s = (rl_meter_sample){.labels = rl_strndup(labels.p, labels.n)};
    if (m->type == RL_METER_HISTOGRAM)
        s->counts = rl_calloc(m->nbounds + 1, sizeof(*s->counts));
    rl_map_put(&m->by_labels, labels, (void *)(uintptr_t)m->nsamples);
    return (int)m->nsamples - 1;
}

void rl_meter_add(rl_meter *m, unsigned sample, double n)
{
    rl_meter_sample *s = &m->samples[sample];
    unsigned i = 0;

    s->value += n;
    if (!s->counts)
        return;
    while (i < m->nbounds && !(n <= m->bounds[i]))
        i++;
    s->counts[i]++;
}

static void merge_sample(rl_meter *to, const rl_meter *from, const rl_meter_sample *sample,
                         rl_str labels)
{
    int at = rl_meter_sample_of(to, labels);

    if (at < 0)
        return;
    to->samples[at].value += sample->value;
    for (unsigned i = 0; sample->counts && i <= from->nbounds; i++)
        to->samples[at].counts[i] += sample->counts[i];
}

/* worker < 0: nobody asks whose it is */
static void merge(rl_meters *to, const rl_meters *from, int worker)
{
    rl_buf labels = {0};

    for (unsigned i = 0; i < from->n; i++) {
        const rl_meter *m = &from->at[i];
        rl_err ignored;
        int at = rl_meters_declare(to, m->type, rl_str_of(m->name), rl_str_of(m->help), m->bounds,
                                   m->nbounds, &ignored);
        for (unsigned s = 0; at >= 0 && s < m->nsamples; s++) {
            rl_buf_clear(&labels);
            rl_buf_add_str(&labels, rl_str_of(m->samples[s].labels));
            if (worker >= 0 && m->type == RL_METER_GAUGE) {
                char number[16];
                snprintf(number, sizeof(number), "%d", worker);
                rl_exposition_label(&labels, "worker", rl_str_of(number));
            }
            merge_sample(&to->at[at], m, &m->samples[s], rl_buf_str(&labels));
        }
    }
    rl_buf_fini(&labels);
}

void rl_meters_copy(rl_meters *to, const rl_meters *from)
{
    merge(to, from, -1);
}

void rl_meters_merge(rl_meters *to, const rl_meters *from, unsigned worker)
{
    merge(to, from, (int)worker);
}

static void write_line(rl_buf *out, const rl_meter *m, const char *suffix, rl_str labels, double n)
{
    rl_exposition_begin(out, m->name, suffix);
    rl_buf_add_str(out, labels);
    rl_exposition_end(out, n);
}

static void write_buckets(rl_buf *out, const rl_meter *m, const rl_meter_sample *s)
{
    uint64_t below = 0;
    char le[32];

    for (unsigned i = 0; i <= m->nbounds; i++) {
        below += s->counts[i];
        rl_exposition_begin(out, m->name, "_bucket");
        rl_buf_add_str(out, rl_str_of(s->labels));
        if (i < m->nbounds)
            snprintf(le, sizeof(le), "%.15g", m->bounds[i]);
        rl_exposition_label(out, "le", i < m->nbounds ? rl_str_of(le) : RL_STR("+Inf"));
        rl_exposition_end(out, (double)below);
    }
    write_line(out, m, "_sum", rl_str_of(s->labels), s->value);
    write_line(out, m, "_count", rl_str_of(s->labels), (double)below);
}

void rl_meters_write(rl_buf *out, const rl_meters *all)
{
    for (unsigned i = 0; i < all->n; i++) {
        const rl_meter *m = &all->at[i];
        rl_exposition_family(out, m->name, type_names[m->type], m->help);
        for (unsigned s = 0; s < m->nsamples; s++)
            if (m->samples[s].counts)
                write_buckets(out, m, &m->samples[s]);
            else
                write_line(out, m, "", rl_str_of(m->samples[s].labels), m->samples[s].value);
    }
}
