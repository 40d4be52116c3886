#include "base/exposition.h"

#include "base/escape.h"

#include <math.h>
#include <stdio.h>

void rl_exposition_family(rl_buf *out, const char *name, const char *type, const char *help)
{
    rl_buf_printf(out, "# HELP %s ", name);
    for (; *help; help++)
        if (*help == '\\' || *help == '\n')
            rl_buf_printf(out, "\\%c", *help == '\n' ? 'n' : '\\');
        else
            rl_buf_add_c(out, *help);
    rl_buf_printf(out, "\n# TYPE %s %s\n", name, type);
}

void rl_exposition_begin(rl_buf *out, const char *name, const char *suffix)
{
    rl_buf_printf(out, "%s%s", name, suffix);
}

void rl_exposition_label(rl_buf *out, const char *name, rl_str value)
{
    bool first = !out->len || out->data[out->len - 1] != '"';

    rl_buf_printf(out, "%s%s=\"", first ? "{" : ",", name);
    rl_escape_label(out, value);
    rl_buf_add_c(out, '"');
}

void rl_exposition_end(rl_buf *out, double value)
{
    if (out->len && out->data[out->len - 1] == '"')
        rl_buf_add_c(out, '}');
    if (isnan(value))
        rl_buf_add_str(out, RL_STR(" NaN\n"));
    else if (isinf(value))
        rl_buf_printf(out, " %cInf\n", value > 0 ? '+' : '-');
    else
        rl_buf_printf(out, value == floor(value) && fabs(value) < 1e15 ? " %.0f\n" : " %.15g\n",
                      value);
}

static void begin(rl_buf *out, const char *name, const char *suffix, rl_str labels)
{
    rl_exposition_begin(out, name, suffix);
    rl_buf_add_str(out, labels);
}

void rl_exposition_histogram(rl_buf *out, const char *name, rl_str labels, const rl_histogram *h)
{
    uint64_t below = 0;
    char le[32];

    for (int i = 0; i < RL_HISTOGRAM_BUCKETS; i++) {
        bool last = i == RL_HISTOGRAM_BUCKETS - 1;
        below += h->buckets[i];
        snprintf(le, sizeof(le), "%.9g", (double)rl_histogram_bound(i) / 1e6);
        begin(out, name, "_bucket", labels);
        rl_exposition_label(out, "le", last ? RL_STR("+Inf") : rl_str_of(le));
        rl_exposition_end(out, (double)below);
    }
    begin(out, name, "_sum", labels);
    rl_exposition_end(out, (double)h->sum / 1e6);
    begin(out, name, "_count", labels);
    rl_exposition_end(out, (double)below);
}
