#include "core/names.h"

/* Of two numbers one that looks like neither (splitmix64's last step). */
static uint64_t mix(uint64_t seed, uint64_t n)
{
    uint64_t z = seed + (n + 1) * 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void take_trace(struct rl_given *given, const rl_http_head *head, rl_str parent)
{
    rl_str state;

    given->traced = true;
    if (rl_http_field_times(head, RL_STR("traceparent")) != 1 ||
        !rl_trace_parse(&given->trace, parent))
        return;
    if (rl_http_field_times(head, RL_STR("tracestate")) == 1 &&
        rl_http_field_get(head, RL_STR("tracestate"), &state) && rl_trace_state_valid(state))
        given->tracestate = rl_strndup(state.p, state.n);
}

void rl_names_take(rl_consumer *c, const rl_http_head *head)
{
    rl_str id, parent;
    bool named =
        rl_http_field_get(head, RL_STR("x-request-id"), &id) && rl_trace_request_id_valid(id);
    bool traced = rl_http_field_get(head, RL_STR("traceparent"), &parent);

    if (!named && !traced)
        return;
    c->given = rl_calloc(1, sizeof(*c->given));
    if (named)
        c->given->request_id = rl_strndup(id.p, id.n);
    if (traced)
        take_trace(c->given, head, parent);
}

void rl_names_drop(rl_consumer *c)
{
    if (!c->given)
        return;
    rl_free(c->given->request_id);
    rl_free(c->given->tracestate);
    rl_free(c->given);
    c->given = NULL;
}

/* At least so many digits. Returns where they end. (Every answer carries an id: printf takes its
 * time.) */
static char *put_hex(char *out, uint64_t n, int digits)
{
    while (digits < 16 && n >> (4 * digits))
        digits++;
    for (int i = digits - 1; i >= 0; i--)
        *out++ = "0123456789abcdef"[n >> (4 * i) & 15];
    return out;
}

const char *rl_names_request_id(const rl_consumer *c, char out[RL_REQUEST_ID_SIZE])
{
    if (c->given && c->given->request_id)
        return c->given->request_id;
    char *end = put_hex(out, c->worker->seeds[0], 16);
    *end++ = '-';
    *put_hex(end, (uint64_t)c->id, 1) = '\0';
    return out;
}

void rl_names_trace(const rl_consumer *c, rl_trace *out)
{
    const uint64_t *seeds = c->worker->seeds;
    uint64_t n = (uint64_t)c->id;

    *out = (rl_trace){0};
    if (c->given && c->given->trace.id[0])
        *out = c->given->trace;
    else
        rl_trace_make_id(out, mix(seeds[1], n), mix(seeds[2], n));
    rl_trace_make_span(out, mix(seeds[3], n));
}

const char *rl_names_tracestate(const rl_consumer *c)
{
    return c->given && c->given->tracestate ? c->given->tracestate : "";
}

void rl_names_add_header(const rl_consumer *c, rl_str headers, rl_buf *out)
{
    const rl_str name = RL_STR("x-request-id");
    char id[RL_REQUEST_ID_SIZE];
    rl_str line;

    while (rl_str_cut(&headers, '\n', &line))
        if (line.n > name.n && line.p[name.n] == ':' &&
            rl_str_eq_nocase((rl_str){line.p, name.n}, name))
            return;
    rl_buf_add_str(out, RL_STR("x-request-id: "));
    rl_buf_add_str(out, rl_str_of(rl_names_request_id(c, id)));
    rl_buf_add_str(out, RL_STR("\r\n"));
}

/* In the log */

static rl_str non_empty(const char *s)
{
    return *s ? rl_str_of(s) : (rl_str){0};
}

static size_t add_consumer(const rl_consumer *c, rl_log_field *f)
{
    static _Thread_local char id[RL_REQUEST_ID_SIZE];
    static _Thread_local rl_trace trace;
    const rl_route *r = c->worker->routes.at[c->route];
    size_t n = 0;

    f[n++] = rl_log_str("route", non_empty(r->pattern));
    f[n++] = rl_log_str("consumer", non_empty(r->consumer));
    if (c->kind == RL_CONSUMER_BACKGROUND)
        return n;
    f[n++] = rl_log_str("request_id", rl_str_of(rl_names_request_id(c, id)));
    if (rl_log_format_of() == RL_LOG_JSON || (c->given && c->given->traced)) {
        rl_names_trace(c, &trace);
        f[n++] = rl_log_str("trace_id", rl_str_of(trace.id));
        f[n++] = rl_log_str("span_id", rl_str_of(trace.span));
    }
    return n;
}

static size_t add_context(void *arg, rl_log_field *f)
{
    rl_worker *w = arg;
    bool json = rl_log_format_of() == RL_LOG_JSON;
    const rl_consumer *c = w->told;
    size_t n = 0;

    if (!c && w->vm.running)
        c = rl_roster_find(&w->roster, w->vm.running->owner);
    if (json || atomic_load(&w->crew->count) > 1)
        f[n++] = rl_log_number("worker", w->index);
    const rl_generation *g = c ? c->generation : w->generations.serving;
    if (g->number && (json || g != w->generations.serving))
        f[n++] = rl_log_number("generation", g->number);
    return c ? n + add_consumer(c, f + n) : n;
}

void rl_names_log(rl_worker *w)
{
    rl_log_set_context(add_context, w);
}
