/* exposition.h - metrics as Prometheus reads them: the text format, version 0.0.4.
 *
 *     rl_exposition_family(out, "rille_tasks", "gauge", "Tasks begun and not ended.");
 *     rl_exposition_begin(out, "rille_tasks", "");
 *     rl_exposition_label(out, "worker", RL_STR("0"));
 *     rl_exposition_end(out, 7);
 *
 * All samples of a family stand together behind its head. */
#ifndef RL_BASE_EXPOSITION_H
#define RL_BASE_EXPOSITION_H

#include "base/buf.h"
#include "base/histogram.h"

#define RL_EXPOSITION_TYPE "text/plain; version=0.0.4; charset=utf-8"

void rl_exposition_family(rl_buf *out, const char *name, const char *type, const char *help);

/* One sample: its name with a suffix ("" or "_sum"), labels, then the value. A label's value is
 * escaped, and what of it is not UTF-8 replaced. */
void rl_exposition_begin(rl_buf *out, const char *name, const char *suffix);
void rl_exposition_label(rl_buf *out, const char *name, rl_str value);
void rl_exposition_end(rl_buf *out, double value);

/* A whole histogram in seconds. labels are written as rl_exposition_label() does, into a buffer of
 * their own, and stand in every sample. */
void rl_exposition_histogram(rl_buf *out, const char *name, rl_str labels, const rl_histogram *h);

#endif
