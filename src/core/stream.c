/* stream.c - answers that have no end of their own: event streams.
 *
 * After `connect` the answer stays open, and its consumer with it, without a task: messages of the
 * layer are its events. While nothing is sent, a comment now and then keeps proxies from closing
 * the connection, and finds peers that are gone. The time to the next lies in the grace timer,
 * which nobody else needs before the end. */
#include "core/consumer.h"

/* Their intervals are few: a list each, opened when it is first asked for. If there are too many,
 * the nearest has to do. */
static uint8_t find_beat(rl_worker *w, double seconds)
{
    uint64_t ms = (uint64_t)(seconds * 1000);
    unsigned best = 0;

    for (unsigned i = 0; i < w->nbeats; i++) {
        uint64_t is = w->beats[i].after, was = w->beats[best].after;
        if (is == ms)
            return (uint8_t)(i + 1);
        if ((is > ms ? is - ms : ms - is) < (was > ms ? was - ms : ms - was))
            best = i;
    }
    if (w->nbeats == RL_COUNT(w->beats))
        return (uint8_t)(best + 1);
    rl_timeouts_open(&w->beats[w->nbeats], &w->loop, ms, rl_consumer_on_beat);
    return (uint8_t)++w->nbeats;
}

void rl_consumer_await_beat(rl_consumer *c)
{
    if (c->stream && c->stream != RL_STREAM_SILENT)
        rl_timeout_start(&c->worker->beats[c->stream - 1], &c->grace);
}

void rl_consumer_on_beat(rl_timeout *t)
{
    rl_consumer *c = RL_CONTAINER_OF(t, rl_consumer, grace);

    if (!c->http)
        return;
    if (!rl_http_conn_is_over(c->http)) /* it has enough to read */
        rl_http_conn_write(c->http, RL_STR(":\n\n"));
    rl_consumer_await_beat(c);
}

int rl_consumer_stream(rl_consumer *c, rl_str headers, double beat, rl_err *err)
{
    int rc = rl_consumer_start(c, 200, headers, -1, err);

    if (rc < 0)
        return rc;
    c->stream = beat > 0 ? find_beat(c->worker, beat) : RL_STREAM_SILENT;
    rl_http_conn_stay(c->http);
    rl_consumer_await_beat(c);
    return 0;
}

void rl_consumer_end_stream(rl_consumer *c, uint16_t code, rl_str reason)
{
    rl_http_conn *hc = c->http;

    c->http = NULL;
    if (c->failed)
        rl_http_conn_break(hc);
    else
        rl_http_conn_end(hc);
    rl_consumer_lost(c, code, reason);
}
