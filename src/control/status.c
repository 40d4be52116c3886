#include "control/status.h"

#include "base/escape.h"

#include <string.h>
#include <unistd.h>

/* What all workers have of something, summed. */

struct sum {
    const char *kind, *pattern, *consumer; /* of a route; of a database kind is its name */
    uint64_t open, events, failed;
    rl_db_stats db;
};

static struct sum *find(struct sum *all, unsigned *n, const char *kind, const char *pattern)
{
    for (unsigned i = 0; i < *n; i++)
        if (strcmp(all[i].kind, kind) == 0 && strcmp(all[i].pattern, pattern) == 0)
            return &all[i];
    all[*n] = (struct sum){.kind = kind, .pattern = pattern, .consumer = ""};
    return &all[(*n)++];
}

static struct sum *sum_routes(const rl_status *s, unsigned *n)
{
    unsigned most = 1;

    *n = 0;
    for (unsigned w = 0; w < s->n; w++)
        most += s->workers[w].nroutes;
    struct sum *all = rl_calloc(most, sizeof(*all));
    for (unsigned w = 0; w < s->n; w++)
        for (unsigned i = 0; i < s->workers[w].nroutes; i++) {
            const rl_route *r = &s->workers[w].routes[i];
            struct sum *sum = find(all, n, r->kind, r->pattern);
            sum->consumer = r->consumer;
            sum->open += s->workers[w].alive[i];
            sum->failed += r->failed;
            for (unsigned e = 0; e < RL_OCCASIONS; e++)
                sum->events += r->events[e];
        }
    return all;
}

static struct sum *sum_databases(const rl_status *s, unsigned *n)
{
    unsigned most = 1;

    *n = 0;
    for (unsigned w = 0; w < s->n; w++)
        most += s->workers[w].ndbs;
    struct sum *all = rl_calloc(most, sizeof(*all));
    for (unsigned w = 0; w < s->n; w++)
        for (unsigned i = 0; i < s->workers[w].ndbs; i++) {
            const rl_db_stats *one = &s->workers[w].dbs[i].stats;
            rl_db_stats *db = &find(all, n, s->workers[w].dbs[i].name, "")->db;
            db->open += one->open;
            db->idle += one->idle;
            db->leased += one->leased;
            db->waiting += one->waiting;
            db->statements += one->statements;
            db->timeouts += one->timeouts;
        }
    return all;
}

static rl_counters sum_counters(const rl_status *s)
{
    rl_counters sum = {0};

    for (unsigned w = 0; w < s->n; w++)
        for (size_t i = 0; i < rl_counter_count; i++) {
            const rl_counter_info *info = &rl_counter_infos[i];
            *(uint64_t *)((char *)&sum + info->offset) +=
                rl_counter_at(&s->workers[w].counters, info);
        }
    return sum;
}

static const char *state_of(const rl_status *s)
{
    return s->process->unready ? s->process->unready : "serving";
}

/* For people */

static void add_duration(rl_buf *out, double seconds)
{
    unsigned long s = (unsigned long)seconds;

    if (s >= 86400)
        rl_buf_printf(out, "%lu d %lu h", s / 86400, s % 86400 / 3600);
    else if (s >= 3600)
        rl_buf_printf(out, "%lu h %lu min", s / 3600, s % 3600 / 60);
    else if (s >= 60)
        rl_buf_printf(out, "%lu min %lu s", s / 60, s % 60);
    else
        rl_buf_printf(out, "%lu s", s);
}

static void add_code(rl_buf *out, const rl_code *code, const rl_process_figures *process)
{
    rl_buf_printf(out, "code       generation %u (%s)", code->serving.number, code->serving.hash);
    if (code->previous.number)
        rl_buf_printf(out, code->trial ? " on trial beside %u (%s)" : "; before it %u (%s)",
                      code->previous.number, code->previous.hash);
    rl_buf_printf(out, "\nreloads    %llu", (unsigned long long)code->loads);
    if (code->loads_failed)
        rl_buf_printf(out, ", %llu failed", (unsigned long long)code->loads_failed);
    if (code->rolled_back)
        rl_buf_printf(out, ", %llu rolled back", (unsigned long long)code->rolled_back);
    rl_buf_add_c(out, '\n');
    if (process->rolled_back_by_itself)
        rl_buf_printf(out, "           %llu by itself, the last time because %s\n",
                      (unsigned long long)process->rolled_back_by_itself, process->why_rolled_back);
    if (code->trouble) {
        rl_buf_add_str(out, RL_STR("the last reload failed: "));
        rl_buf_add_str(out, rl_str_of(code->trouble));
        rl_buf_add_c(out, '\n');
    }
}

static void add_workers(rl_buf *out, const rl_status *s)
{
    rl_buf_printf(out, "\n%6s %10s %11s %10s %8s %10s %6s %9s\n", "worker", "generation",
                  "connections", "WebSockets", "requests", "background", "tasks", "heap");
    for (unsigned w = 0; w < s->n; w++) {
        const rl_figures *f = &s->workers[w];
        if (f->there)
            rl_buf_printf(out, "%6u %10u %11u %10u %8u %10u %6u %5.1f MiB\n", w, f->generation,
                          f->connections, f->websockets, f->requests, f->background, f->tasks,
                          (double)f->lua_bytes / 1048576);
        else
            rl_buf_printf(out, "%6u gives no answer: a handler does not let go of it\n", w);
        for (unsigned i = 0; i < f->ngenerations; i++)
            if (f->generations[i].number != f->generation && f->generations[i].consumers)
                rl_buf_printf(out, "%6s %10u %11s %u still run it\n", "", f->generations[i].number,
                              "", f->generations[i].consumers);
    }
}

static void add_routes(rl_buf *out, const rl_status *s)
{
    unsigned n;
    struct sum *all = sum_routes(s, &n);

    rl_buf_printf(out, "\n%6s %10s %8s  %s\n", "open", "events", "failed", "route");
    for (unsigned i = 0; i < n; i++)
        if (all[i].kind[0] || all[i].open)
            rl_buf_printf(out, "%6llu %10llu %8llu  %s %s%s%s\n", (unsigned long long)all[i].open,
                          (unsigned long long)all[i].events, (unsigned long long)all[i].failed,
                          all[i].kind[0] ? all[i].kind : "(none)", all[i].pattern,
                          all[i].consumer[0] ? " " : "", all[i].consumer);
    rl_free(all);
}

static void add_databases(rl_buf *out, const rl_status *s)
{
    unsigned n;
    struct sum *all = sum_databases(s, &n);

    rl_buf_printf(out, "\n%6s %6s %6s %8s %10s  %s\n", "open", "idle", "pinned", "waiting",
                  "statements", "database");
    for (unsigned i = 0; i < n; i++)
        rl_buf_printf(out, "%6u %6u %6u %8u %10llu  %s\n", all[i].db.open, all[i].db.idle,
                      all[i].db.leased, all[i].db.waiting, (unsigned long long)all[i].db.statements,
                      all[i].kind);
    rl_free(all);
}

static void add_layer(rl_buf *out, const rl_status *s)
{
    uint64_t delivered = 0, dropped = 0, groups = 0, channels = 0;
    const rl_outside_figures *outside = s->n ? &s->workers[0].outside : NULL;

    for (unsigned w = 0; w < s->n; w++) {
        delivered += s->workers[w].delivered;
        dropped += s->workers[w].dropped;
        groups += s->workers[w].groups;
        channels += s->workers[w].channels;
    }
    rl_buf_printf(out, "\nlayer      %llu channels, %llu groups, %llu delivered, %llu dropped",
                  (unsigned long long)channels, (unsigned long long)groups,
                  (unsigned long long)delivered, (unsigned long long)dropped);
    if (outside && outside->there)
        rl_buf_printf(out, "; other processes: %s, %llu outages", outside->up ? "up" : "DOWN",
                      (unsigned long long)outside->outages);
    rl_buf_add_c(out, '\n');
}

void rl_status_text(rl_buf *out, const rl_status *s)
{
    rl_counters counters = sum_counters(s);

    rl_buf_printf(out, "rille %s, pid %d, up ", RILLE_VERSION, (int)getpid());
    add_duration(out, s->uptime);
    rl_buf_printf(out, ", %s %s\n", state_of(s), s->settings->app);
    for (unsigned i = 0; i < s->nurls; i++)
        rl_buf_printf(out, "listening  %s\n", s->urls[i]);
    add_code(out, s->code, s->process);
    add_workers(out, s);
    add_routes(out, s);
    add_databases(out, s);
    add_layer(out, s);
    for (size_t i = 0; i < rl_counter_count; i++)
        if (rl_counter_at(&counters, &rl_counter_infos[i]))
            rl_buf_printf(out, "%10llu %s\n",
                          (unsigned long long)rl_counter_at(&counters, &rl_counter_infos[i]),
                          rl_counter_infos[i].what);
}

/* For programs. Every member but the first of an object or array has a comma in front. */

static void separate(rl_buf *out)
{
    char last = out->len ? out->data[out->len - 1] : '{';

    if (last != '{' && last != '[')
        rl_buf_add_c(out, ',');
}

static void add_name(rl_buf *out, const char *name)
{
    separate(out);
    rl_escape_json(out, rl_str_of(name));
    rl_buf_add_c(out, ':');
}

static void add_number(rl_buf *out, const char *name, uint64_t value)
{
    add_name(out, name);
    rl_buf_printf(out, "%llu", (unsigned long long)value);
}

static void add_text(rl_buf *out, const char *name, const char *text)
{
    add_name(out, name);
    if (text)
        rl_escape_json(out, rl_str_of(text));
    else
        rl_buf_add_str(out, RL_STR("null"));
}

static void add_yes(rl_buf *out, const char *name, bool yes)
{
    add_name(out, name);
    rl_buf_add_str(out, yes ? RL_STR("true") : RL_STR("false"));
}

static void begin(rl_buf *out, const char *name, char bracket)
{
    if (name)
        add_name(out, name);
    else
        separate(out);
    rl_buf_add_c(out, bracket);
}

static void end(rl_buf *out, char bracket)
{
    rl_buf_add_c(out, bracket);
}

static void add_load(rl_buf *out, const char *name, const struct rl_code_of *of)
{
    if (!of->number) {
        add_text(out, name, NULL);
        return;
    }
    begin(out, name, '{');
    add_number(out, "number", of->number);
    add_text(out, "hash", of->hash);
    end(out, '}');
}

static void add_worker(rl_buf *out, unsigned w, const rl_figures *f)
{
    begin(out, NULL, '{');
    add_number(out, "worker", w);
    add_yes(out, "answers", f->there);
    add_number(out, "generation", f->generation);
    add_number(out, "connections", f->connections);
    add_number(out, "websockets", f->websockets);
    add_number(out, "requests", f->requests);
    add_number(out, "background", f->background);
    add_number(out, "tasks", f->tasks);
    add_number(out, "heap_bytes", f->lua_bytes);
    add_number(out, "loop_turns", f->turns);
    begin(out, "generations", '[');
    for (unsigned i = 0; i < f->ngenerations; i++) {
        begin(out, NULL, '{');
        add_number(out, "number", f->generations[i].number);
        add_number(out, "consumers", f->generations[i].consumers);
        add_number(out, "events", f->generations[i].events);
        add_number(out, "failed", f->generations[i].failed);
        end(out, '}');
    }
    end(out, ']');
    end(out, '}');
}

static void add_json_routes(rl_buf *out, const rl_status *s)
{
    unsigned n;
    struct sum *all = sum_routes(s, &n);

    begin(out, "routes", '[');
    for (unsigned i = 0; i < n; i++) {
        begin(out, NULL, '{');
        add_text(out, "kind", all[i].kind);
        add_text(out, "route", all[i].pattern);
        add_text(out, "consumer", all[i].consumer);
        add_number(out, "open", all[i].open);
        add_number(out, "events", all[i].events);
        add_number(out, "failed", all[i].failed);
        end(out, '}');
    }
    end(out, ']');
    rl_free(all);
}

static void add_json_databases(rl_buf *out, const rl_status *s)
{
    unsigned n;
    struct sum *all = sum_databases(s, &n);

    begin(out, "databases", '[');
    for (unsigned i = 0; i < n; i++) {
        begin(out, NULL, '{');
        add_text(out, "name", all[i].kind);
        add_number(out, "open", all[i].db.open);
        add_number(out, "idle", all[i].db.idle);
        add_number(out, "pinned", all[i].db.leased);
        add_number(out, "waiting", all[i].db.waiting);
        add_number(out, "statements", all[i].db.statements);
        add_number(out, "acquire_timeouts", all[i].db.timeouts);
        end(out, '}');
    }
    end(out, ']');
    rl_free(all);
}

static void add_json_layers(rl_buf *out, const rl_status *s)
{
    begin(out, "layer", '[');
    for (unsigned w = 0; w < s->n; w++) {
        const rl_figures *f = &s->workers[w];
        begin(out, NULL, '{');
        add_number(out, "worker", w);
        add_number(out, "channels", f->channels);
        add_number(out, "groups", f->groups);
        add_number(out, "delivered", f->delivered);
        add_number(out, "dropped", f->dropped);
        add_text(out, "backend", !f->outside.there ? NULL : f->outside.up ? "up" : "down");
        add_number(out, "outages", f->outside.outages);
        end(out, '}');
    }
    end(out, ']');
}

void rl_status_json(rl_buf *out, const rl_status *s)
{
    rl_counters counters = sum_counters(s);

    rl_buf_add_c(out, '{');
    add_text(out, "version", RILLE_VERSION);
    add_number(out, "pid", (uint64_t)getpid());
    add_name(out, "uptime");
    rl_buf_printf(out, "%.3f", s->uptime);
    add_text(out, "app", s->settings->app);
    add_text(out, "state", state_of(s));
    begin(out, "listening", '[');
    for (unsigned i = 0; i < s->nurls; i++) {
        separate(out);
        rl_escape_json(out, rl_str_of(s->urls[i]));
    }
    end(out, ']');
    add_load(out, "generation", &s->code->serving);
    add_load(out, "previous", &s->code->previous);
    add_yes(out, "trial", s->code->trial);
    add_number(out, "reloads", s->code->loads);
    add_number(out, "reloads_failed", s->code->loads_failed);
    add_number(out, "rolled_back", s->code->rolled_back);
    add_number(out, "rolled_back_by_itself", s->process->rolled_back_by_itself);
    add_text(out, "why_rolled_back",
             s->process->rolled_back_by_itself ? s->process->why_rolled_back : NULL);
    add_text(out, "trouble", s->code->trouble);
    begin(out, "workers", '[');
    for (unsigned w = 0; w < s->n; w++)
        add_worker(out, w, &s->workers[w]);
    end(out, ']');
    add_json_routes(out, s);
    add_json_databases(out, s);
    add_json_layers(out, s);
    begin(out, "counters", '{');
    for (size_t i = 0; i < rl_counter_count; i++)
        add_number(out, rl_counter_infos[i].name, rl_counter_at(&counters, &rl_counter_infos[i]));
    end(out, '}');
    rl_buf_add_str(out, RL_STR("}\n"));
}
