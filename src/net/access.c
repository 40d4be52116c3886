#include "net/access.h"

#include "base/buf.h"
#include "base/log.h"

#include <math.h>
#include <stdio.h>

/* As many digits as the clock has. */
static double rounded(double n)
{
    return round(n * 1000) / 1000;
}

static rl_str header(const rl_http_head *head, rl_str name)
{
    rl_str value = {0};

    rl_http_field_get(head, name, &value);
    return value;
}

/* What is left of a head that was malformed may be nothing. */
static rl_str shown(rl_str s)
{
    return s.n ? s : RL_STR("-");
}

static size_t add_who(const rl_access *a, rl_log_field *f, char host[RL_HOST_MAX])
{
    size_t n = 0;

    rl_address_text(&a->peer, host);
    rl_str unnamed = a->peer.family == RL_ADDRESS_UNIX ? RL_STR("unix") : RL_STR("unknown");
    f[n++] = rl_log_str("client", *host ? rl_str_of(host) : unnamed);
    if (!a->head)
        return n;
    f[n++] = rl_log_str("agent", header(a->head, RL_STR("user-agent")));
    if (rl_log_format_of() == RL_LOG_JSON)
        f[n++] = rl_log_str("referer", header(a->head, RL_STR("referer")));
    return n;
}

static void log_websocket(const rl_access *a)
{
    rl_log_field f[8];
    char host[RL_HOST_MAX], message[32];
    bool json = rl_log_format_of() == RL_LOG_JSON;
    size_t n = 0;

    snprintf(message, sizeof(message), "WebSocket %d", a->status);
    if (json)
        f[n++] = rl_log_number("code", a->status);
    f[n++] = rl_log_number("seconds", rounded(a->ms / 1000));
    f[n++] = rl_log_number("messages_in", a->messages_in);
    f[n++] = rl_log_number("messages_out", a->messages_out);
    f[n++] = rl_log_number("bytes_in", (double)a->bytes_in);
    f[n++] = rl_log_number("bytes_out", (double)a->bytes_out);
    n += add_who(a, f + n, host);
    rl_log_fields(RL_LOG_INFO, json ? RL_STR("websocket") : rl_str_of(message), f, n);
}

static void log_request(const rl_access *a)
{
    rl_log_field f[10];
    char host[RL_HOST_MAX];
    rl_str method = shown(rl_http_method(a->head)), target = shown(rl_http_target(a->head));
    bool json = rl_log_format_of() == RL_LOG_JSON;
    rl_buf message = {0};
    size_t n = 0;

    if (json) {
        rl_buf_add_str(&message, RL_STR("request"));
        f[n++] = rl_log_str("method", method);
        f[n++] = rl_log_str("target", target);
        f[n++] = rl_log_number("status", a->status);
    } else {
        rl_buf_printf(&message, "%.*s %.*s %d", (int)method.n, method.p, (int)target.n, target.p,
                      a->status);
    }
    f[n++] = rl_log_number("bytes", (double)a->bytes_out);
    f[n++] = rl_log_number("ms", rounded(a->ms));
    if (a->aborted)
        f[n++] = (rl_log_field){.name = RL_STR("aborted"), .type = RL_LOG_BOOL, .yes = true};
    n += add_who(a, f + n, host);
    rl_log_fields(RL_LOG_INFO, rl_buf_str(&message), f, n);
    rl_buf_fini(&message);
}

void rl_access_log(const rl_access *a)
{
    if (rl_log_threshold() > RL_LOG_INFO)
        return;
    if (a->head)
        log_request(a);
    else
        log_websocket(a);
}
