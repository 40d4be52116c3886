#include "admin/metrics_page.h"

#include "admin/process.h"
#include "base/exposition.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

void rl_metrics_number(rl_buf *out, const char *name, unsigned n)
{
    char text[16];

    snprintf(text, sizeof(text), "%u", n);
    rl_exposition_label(out, name, rl_str_of(text));
}

static void one(rl_buf *out, const char *name, const char *type, const char *help, double value)
{
    rl_exposition_family(out, name, type, help);
    rl_exposition_begin(out, name, "");
    rl_exposition_end(out, value);
}

/* Of each worker */

enum width { U32, U64, SIZE };

static const struct figure {
    const char *name, *type, *help;
    enum width width;
    size_t at;
} figures[] = {
#define F(name, type, width, member, help)                             \
    {                                                                  \
        "rille_" name, type, help, width, offsetof(rl_figures, member) \
    }
    F("connections", "gauge", U32, connections, "Connections that are open."),
    F("websockets", "gauge", U32, websockets, "WebSockets that are open."),
    F("requests", "gauge", U32, requests, "Requests under way, handshakes included."),
    F("background_consumers", "gauge", U32, background, "Consumers without a peer."),
    F("tasks", "gauge", U32, tasks, "Tasks begun and not ended."),
    F("channels", "gauge", U32, channels, "Channels of the layer."),
    F("groups", "gauge", SIZE, groups, "Groups of the layer with members on this worker."),
    F("unsent_bytes", "gauge", U64, unsent, "Bytes that peers have left unread."),
    F("lua_heap_bytes", "gauge", SIZE, lua_bytes, "Bytes of the script's heap."),
    F("lua_heap_limit_bytes", "gauge", SIZE, lua_limit, "Bytes it may have."),
    F("generation", "gauge", U32, generation, "Number of the load of the code that serves."),
    F("received_bytes_total", "counter", U64, bytes_in, "Bytes received from peers."),
    F("sent_bytes_total", "counter", U64, bytes_out, "Bytes sent to peers."),
    F("websocket_messages_received_total", "counter", U64, messages_in,
      "Messages received on WebSockets."),
    F("websocket_messages_sent_total", "counter", U64, messages_out,
      "Messages sent on WebSockets, fan-out included."),
    F("websocket_messages_deflated_total", "counter", U64, deflated,
      "Messages compressed; one for several WebSockets counts once."),
    F("websocket_messages_inflated_total", "counter", U64, inflated, "Messages decompressed."),
    F("deflate_streams", "gauge", U64, deflate_streams,
      "Windows of compression that are held in memory."),
    F("layer_delivered_total", "counter", U64, delivered, "Messages of the layer delivered."),
    F("layer_dropped_total", "counter", U64, dropped,
      "Messages of the layer dropped: see rille_limit_hits_total for why."),
    F("source_events_dropped_total", "counter", U64, events_dropped,
      "Notifications and the like that found a mailbox full."),
    F("mqtt_connections", "gauge", U32, mqtt.connections,
      "Connections to the MQTT broker that are up: one that hears, one that publishes."),
    F("mqtt_unacknowledged", "gauge", U32, mqtt.unacknowledged,
      "MQTT messages of QoS 1 whose handlers have not ended."),
    F("mqtt_received_total", "counter", U64, mqtt.received, "MQTT messages received."),
    F("mqtt_published_total", "counter", U64, mqtt.published, "MQTT messages published."),
    F("mqtt_reconnects_total", "counter", U64, mqtt.reconnects,
      "Connections to the MQTT broker that had been lost and came up again."),
    F("loop_turns_total", "counter", U64, turns, "Turns of the event loop."),
#undef F
};

static double figure_of(const rl_figures *f, const struct figure *figure)
{
    const char *at = (const char *)f + figure->at;

    switch (figure->width) {
    case U32:
        return *(const unsigned *)(const void *)at;
    case U64:
        return (double)*(const uint64_t *)(const void *)at;
    case SIZE:
        return (double)*(const size_t *)(const void *)at;
    }
    return 0;
}

static void write_figures(const rl_metrics_page *p)
{
    rl_exposition_family(p->out, "rille_worker_up", "gauge",
                         "1: the worker has answered; 0: it is busy, or has ended.");
    for (unsigned w = 0; w < p->n; w++) {
        rl_exposition_begin(p->out, "rille_worker_up", "");
        rl_metrics_number(p->out, "worker", w);
        rl_exposition_end(p->out, p->workers[w].there);
    }
    for (size_t i = 0; i < RL_COUNT(figures); i++) {
        rl_exposition_family(p->out, figures[i].name, figures[i].type, figures[i].help);
        for (unsigned w = 0; w < p->n; w++) {
            if (!p->workers[w].there)
                continue;
            rl_exposition_begin(p->out, figures[i].name, "");
            rl_metrics_number(p->out, "worker", w);
            rl_exposition_end(p->out, figure_of(&p->workers[w], &figures[i]));
        }
    }
}

/* The layer's backend: nothing where there is none. */

static void write_backend_figure(const rl_metrics_page *p, unsigned w, const char *name,
                                 const char *outcome, uint64_t value)
{
    if (!p->workers[w].outside.there)
        return;
    rl_exposition_begin(p->out, name, "");
    rl_metrics_number(p->out, "worker", w);
    if (outcome)
        rl_exposition_label(p->out, "outcome", rl_str_of(outcome));
    rl_exposition_end(p->out, (double)value);
}

static void write_backend(const rl_metrics_page *p)
{
    static const char up[] = "rille_layer_backend_up";
    static const char outages[] = "rille_layer_backend_outages_total";
    static const char messages[] = "rille_layer_backend_messages_total";

    rl_exposition_family(p->out, up, "gauge", "1: the layer's backend has its connection.");
    for (unsigned w = 0; w < p->n; w++)
        write_backend_figure(p, w, up, NULL, p->workers[w].outside.up);
    rl_exposition_family(p->out, outages, "counter", "Times that it lost it.");
    for (unsigned w = 0; w < p->n; w++)
        write_backend_figure(p, w, outages, NULL, p->workers[w].outside.outages);
    rl_exposition_family(p->out, messages, "counter",
                         "Messages to and from other processes, by what became of them.");
    for (unsigned w = 0; w < p->n; w++) {
        const rl_outside_figures *f = &p->workers[w].outside;
#define RL_X(name) write_backend_figure(p, w, messages, #name, f->name);
        RL_OUTSIDE_MESSAGES(RL_X)
#undef RL_X
    }
}

/* What is counted for each limit (base/counters.h): three families by their names. */

static bool starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

static void write_counters(const rl_metrics_page *p, const char *family, const char *label,
                           const char *prefix, const char *help)
{
    size_t skip = strlen(prefix);

    rl_exposition_family(p->out, family, "counter", help);
    for (size_t i = 0; i < rl_counter_count; i++) {
        const rl_counter_info *info = &rl_counter_infos[i];
        bool ours = skip ? starts(info->name, prefix)
                         : !starts(info->name, "refused_") && strcmp(info->name, "accepted") &&
                               strcmp(info->name, "handlers_failed") &&
                               strcmp(info->name, "tasks_failed");
        for (unsigned w = 0; ours && w < p->n; w++) {
            if (!p->workers[w].there)
                continue;
            rl_exposition_begin(p->out, family, "");
            rl_metrics_number(p->out, "worker", w);
            if (label)
                rl_exposition_label(p->out, label, rl_str_of(info->name + (label ? skip : 0)));
            rl_exposition_end(p->out, (double)rl_counter_at(&p->workers[w].counters, info));
        }
    }
}

static void write_limits(const rl_metrics_page *p)
{
    write_counters(p, "rille_connections_accepted_total", NULL, "accepted",
                   "Connections accepted.");
    write_counters(p, "rille_connections_refused_total", "reason", "refused_",
                   "Connections refused, by reason.");
    write_counters(p, "rille_tasks_failed_total", NULL, "tasks_failed",
                   "Tasks that raised, and nobody waited for them.");
    write_counters(p, "rille_limit_hits_total", "limit", "",
                   "How often a limit was met: what was dropped, cut off or interrupted.");
}

static void write_close_codes(const rl_metrics_page *p)
{
    static const char name[] = "rille_websockets_closed_total";

    rl_exposition_family(p->out, name, "counter", "WebSockets that ended, by close code.");
    for (unsigned i = 0; i < RL_CLOSE_CODES; i++) {
        uint64_t sum = 0;
        char code[8];
        for (unsigned w = 0; w < p->n; w++)
            sum += p->workers[w].close_codes[i];
        if (!sum)
            continue;
        snprintf(code, sizeof(code), i < 16 ? "%u" : "%uxxx", i < 16 ? 1000 + i : i - 13);
        rl_exposition_begin(p->out, name, "");
        rl_exposition_label(p->out, "code", rl_str_of(code));
        rl_exposition_end(p->out, (double)sum);
    }
}

static void write_stalls(const rl_metrics_page *p)
{
    static const char name[] = "rille_loop_stall_seconds";
    rl_buf labels = {0};

    rl_exposition_family(p->out, name, "histogram",
                         "How long turns of the loop took that took a millisecond or more.");
    for (unsigned w = 0; w < p->n; w++) {
        if (!p->workers[w].there)
            continue;
        rl_buf_clear(&labels);
        rl_metrics_number(&labels, "worker", w);
        rl_exposition_histogram(p->out, name, rl_buf_str(&labels), &p->workers[w].stalls);
    }
    rl_buf_fini(&labels);
}

static void write_generations(const rl_metrics_page *p)
{
    static const struct {
        const char *name, *type, *help;
    } families[] = {
        {"rille_generation_consumers", "gauge",
         "Connections, requests and background consumers that run a load of the code."},
        {"rille_generation_events_total", "counter", "Events that it has handled."},
        {"rille_generation_errors_total", "counter", "Of them, those whose handler raised."},
    };

    for (unsigned i = 0; i < RL_COUNT(families); i++) {
        rl_exposition_family(p->out, families[i].name, families[i].type, families[i].help);
        for (unsigned w = 0; w < p->n; w++)
            for (unsigned k = 0; k < p->workers[w].ngenerations; k++) {
                const rl_generation *g = &p->workers[w].generations[k];
                const double values[] = {g->consumers, (double)g->events, (double)g->failed};
                rl_exposition_begin(p->out, families[i].name, "");
                rl_metrics_number(p->out, "worker", w);
                rl_metrics_number(p->out, "generation", g->number);
                rl_exposition_end(p->out, values[i]);
            }
    }
}

/* Histories of groups, the process's */

static void write_outcome(rl_buf *out, const char *name, const char *label, const char *value,
                          uint64_t n)
{
    rl_exposition_begin(out, name, "");
    rl_exposition_label(out, label, rl_str_of(value));
    rl_exposition_end(out, (double)n);
}

static void write_history(rl_buf *out, rl_history *history)
{
    static const char recoveries[] = "rille_history_recoveries_total";
    static const char dropped[] = "rille_history_dropped_total";
    rl_history_figures f;

    rl_history_figures_of(history, &f);
    one(out, "rille_histories", "gauge", "Groups whose history is kept.", (double)f.streams);
    one(out, "rille_history_messages", "gauge", "Messages in them.", (double)f.messages);
    one(out, "rille_history_bytes", "gauge", "Bytes of memory they take.", (double)f.bytes);
    one(out, "rille_history_added_total", "counter", "Messages that were given an offset.",
        (double)f.added);
    rl_exposition_family(out, recoveries, "counter",
                         "Who came back, and got all it had missed or found a gap.");
    write_outcome(out, recoveries, "outcome", "recovered", f.recovered);
    write_outcome(out, recoveries, "outcome", "gap", f.gaps);
    rl_exposition_family(out, dropped, "counter",
                         "Messages given up before their time, or before a worker had read them.");
    write_outcome(out, dropped, "reason", "history_bytes", f.evicted);
    write_outcome(out, dropped, "reason", "unread", f.unread);
    one(out, "rille_histories_forgotten_total", "counter", "Groups forgotten: max_histories.",
        (double)f.forgotten);
}

static void write_presence(rl_buf *out, rl_presence *presence)
{
    rl_presence_figures f;

    rl_presence_figures_of(presence, &f);
    one(out, "rille_presences", "gauge", "Connections that are present in groups, or linger there.",
        (double)f.connections);
    one(out, "rille_presence_bytes", "gauge", "Bytes of memory they take.", (double)f.bytes);
    one(out, "rille_presences_refused_total", "counter", "Connections refused: presence_bytes.",
        (double)f.refused);
}

/* What the script counts */

static void write_meters(const rl_metrics_page *p)
{
    rl_meters all = {0};

    for (unsigned w = 0; w < p->n; w++)
        rl_meters_merge(&all, &p->workers[w].meters, w);
    rl_meters_write(p->out, &all);
    rl_meters_fini(&all);
}

/* The process */

static void write_role(rl_buf *out, const char *name, const struct rl_code_of *of, const char *role)
{
    if (!of->number)
        return;
    rl_exposition_begin(out, name, "");
    rl_metrics_number(out, "generation", of->number);
    rl_exposition_label(out, "hash", rl_str_of(of->hash));
    rl_exposition_label(out, "role", rl_str_of(role));
    rl_exposition_end(out, 1);
}

static void write_code(rl_buf *out, const rl_process_figures *process)
{
    static const char rollbacks[] = "rille_rollbacks_total", info[] = "rille_generation_info";
    const rl_code *code = process->code;

    rl_exposition_family(out, rollbacks, "counter", "Returns to the code before, by reason.");
    write_outcome(out, rollbacks, "reason", "asked",
                  code->rolled_back - process->rolled_back_by_itself);
    write_outcome(out, rollbacks, "reason", "errors", process->rolled_back_by_itself);
    rl_exposition_family(out, info, "gauge",
                         "Loads of the code that serve, are on trial, or can be returned to.");
    write_role(out, info, &code->serving, code->trial ? "trial" : "serving");
    write_role(out, info, &code->previous, code->trial ? "serving" : "previous");
}

static void write_process(rl_buf *out, const rl_process_figures *process, unsigned workers)
{
    rl_process_load load;

    one(out, "rille_workers", "gauge", "Worker threads.", workers);
    one(out, "rille_ready", "gauge", "1: it accepts connections; 0: not yet, or not any more.",
        !process->unready);
    one(out, "rille_reloads_total", "counter", "Reloads of the code that succeeded.",
        (double)process->code->loads);
    one(out, "rille_reloads_failed_total", "counter",
        "Reloads that failed: the old code served on.", (double)process->code->loads_failed);
    write_code(out, process);
    one(out, "rille_log_lines_dropped_total", "counter", "Lines that nobody read in time.",
        (double)rl_log_dropped());

    rl_process_load_read(&load);
    one(out, "process_cpu_seconds_total", "counter", "CPU time, in user and system mode.",
        load.cpu_seconds);
    one(out, "process_resident_memory_bytes", "gauge", "Resident memory.", load.resident);
    one(out, "process_virtual_memory_bytes", "gauge", "Virtual memory.", load.virtual);
    one(out, "process_open_fds", "gauge", "Open file descriptors.", load.open_fds);
    one(out, "process_max_fds", "gauge", "How many there may be.", load.max_fds);
    one(out, "process_start_time_seconds", "gauge", "When it started, since 1970.",
        load.started_at);
}

void rl_metrics_write(rl_buf *out, const rl_process_figures *process, const rl_figures *workers,
                      unsigned n)
{
    const rl_metrics_page p = {out, workers, n};

    write_process(out, process, n);
    write_history(out, process->history);
    write_presence(out, process->presence);
    write_figures(&p);
    write_backend(&p);
    write_limits(&p);
    write_close_codes(&p);
    write_stalls(&p);
    rl_metrics_routes(&p);
    write_generations(&p);
    rl_metrics_databases(&p);
    write_meters(&p);
}
