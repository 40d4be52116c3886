#include "mqtt/client_parts.h"

#include "base/backoff.h"
#include "base/log.h"

#include <errno.h>
#include <mqtt_protocol.h>
#include <string.h>
#include <sys/socket.h>

enum {
    PATIENCE = 10000,    /* ms, from looking the name up to the broker's welcome */
    LAST_WORDS = 1000,   /* ms, for a goodbye to be written */
    BACKOFF_FIRST = 250, /* ms */
    BACKOFF_MOST = 30000,
    READS_PER_TURN = 100, /* packets; then others get a look in */
};

/* The end of a connection, and of a client */

void rl_mqtt_client_free(rl_mqtt_client *c)
{
    const rl_mqtt_client_events *events = c->events;
    void *owner = c->owner;

    rl_tls_broker_close(c->tls);
    rl_mqtt_exchange_fini(&c->exchange);
    rl_free(c->id);
    rl_free(c);
    events->closed(owner);
}

static void on_timer_closed(uv_handle_t *timer)
{
    rl_mqtt_client *c = timer->data;

    c->state = RL_MQTT_CLOSING;
    if (!c->looking)
        rl_mqtt_client_free(c);
}

static void finish(rl_mqtt_client *c)
{
    rl_mqtt_client_unwatch(c);
    rl_mqtt_client_forget_addresses(c);
    mosquitto_destroy(c->mosq);
    c->mosq = NULL;
    c->state = RL_MQTT_LEAVING;
    rl_loop_remove_hook(&c->hook);
    if (c->looking)
        uv_cancel((uv_req_t *)&c->lookup);
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

/* Failing, and trying again */

static void on_timer(uv_timer_t *timer);

static uint64_t backoff(unsigned failures)
{
    uint32_t random = 0;

    uv_random(NULL, NULL, &random, sizeof(random), 0, NULL);
    return rl_backoff(failures, BACKOFF_FIRST, BACKOFF_MOST, random);
}

static void rest(rl_mqtt_client *c, uint64_t after)
{
    bool was_up = c->state == RL_MQTT_UP;

    rl_mqtt_client_unwatch(c);
    rl_mqtt_client_forget_addresses(c);
    c->state = RL_MQTT_RESTING;
    c->welcomed = c->reaching = false;
    c->refusal = 0;
    c->complaint[0] = '\0';
    /* A new session knows nothing of what is held, and begins with the same numbers. */
    c->worn |= c->events->message && !c->conf->session;
    uv_timer_start(&c->timer, on_timer, after, 0);
    if (was_up)
        c->events->down(c->owner);
}

void rl_mqtt_client_lost(rl_mqtt_client *c, const char *fmt, ...)
{
    rl_err why = {0};
    va_list args;

    if (c->state == RL_MQTT_LEAVING) {
        finish(c);
        return;
    }
    va_start(args, fmt);
    rl_err_vset(&why, RL_EOPERATIONAL, fmt, args);
    va_end(args);
    if (c->failures++ == 0)
        rl_warn("%s: %s; trying again", c->conf->name, why.msg);
    else
        rl_debug("%s: %s", c->conf->name, why.msg);
    rest(c, backoff(c->failures));
}

/* Why libmosquitto gave up, in words that tell what to do. */
void rl_mqtt_client_lost_by(rl_mqtt_client *c, int rc, int error)
{
    const char *hint = "";

    if (c->refusal) {
        int r = c->refusal;
        if (!c->conf->v5 && r < 6) {
            rl_mqtt_client_lost(c, "the broker said: %s", mosquitto_connack_string(r));
            return;
        }
        if (r == MQTT_RC_UNSUPPORTED_PROTOCOL_VERSION)
            hint = " (try version=3.1.1)";
        rl_mqtt_client_lost(c, "the broker said: %s%s", mosquitto_reason_string(r), hint);
    } else if (c->complaint[0]) {
        rl_mqtt_client_lost(c, "%s", c->complaint);
    } else if (rc == MOSQ_ERR_ERRNO && error) {
        rl_mqtt_client_lost(c, "%s", strerror(error));
    } else if (rc == MOSQ_ERR_CONN_LOST || rc == MOSQ_ERR_SUCCESS || rc == MOSQ_ERR_NO_CONN) {
        rl_mqtt_client_lost(c, "the broker closed the connection");
    } else {
        rl_mqtt_client_lost(c, "%s", mosquitto_strerror(rc));
    }
}

/* Reading and writing */

static void on_poll(uv_poll_t *poll, int status, int events);

void rl_mqtt_client_set_interest(rl_mqtt_client *c)
{
    bool allowed =
        c->state != RL_MQTT_UP || !c->events->may_write || c->events->may_write(c->owner);
    int want = 0;

    if (!c->watched)
        return;
    if (c->reading || c->state != RL_MQTT_UP)
        want |= UV_READABLE;
    if (c->reaching || (allowed && mosquitto_want_write(c->mosq)))
        want |= UV_WRITABLE;
    if (want == c->interest)
        return;
    c->interest = want;
    if (want)
        uv_poll_start(&c->watched->poll, want, on_poll);
    else
        uv_poll_stop(&c->watched->poll);
}

/* Still there after a call of libmosquitto's? */
static bool stands(rl_mqtt_client *c, int rc)
{
    int error = errno;

    if (rc == MOSQ_ERR_SUCCESS && mosquitto_socket(c->mosq) >= 0)
        return true;
    rl_mqtt_client_lost_by(c, rc, error);
    return false;
}

static void write_out(rl_mqtt_client *c)
{
    if (!c->watched || c->reaching)
        return;
    if (c->state == RL_MQTT_UP && c->events->may_write && !c->events->may_write(c->owner)) {
        rl_mqtt_client_set_interest(c);
        return;
    }
    errno = 0;
    if (mosquitto_want_write(c->mosq) && !stands(c, mosquitto_loop_write(c->mosq, 1)))
        return;
    c->whole = !mosquitto_want_write(c->mosq);
    rl_mqtt_client_set_interest(c);
}

/* Past libmosquitto, between its packets: a PINGREQ or a DISCONNECT. What it holds back stays. */
static void say(rl_mqtt_client *c, const char packet[2])
{
    void *ssl = mosquitto_ssl_get(c->mosq);

    if (!c->whole || !c->watched)
        return;
    if (ssl)
        rl_tls_broker_say(ssl, packet, 2);
    else if (send(c->watched->fd, packet, 2, MSG_NOSIGNAL) < 0)
        rl_debug("%s: %s", c->conf->name, strerror(errno)); /* the poll will tell */
}

static void become_up(rl_mqtt_client *c)
{
    uint64_t beat = (uint64_t)c->conf->keepalive * 500;

    if (!c->resumed && (c->exchange.nheld || c->exchange.stale)) {
        /* What is held will not be released, and its numbers are given anew. */
        c->worn = true;
        say(c, "\xE0\0");
        rest(c, 0);
        return;
    }
    if (c->ups++ && c->failures)
        rl_info("%s: connected again", c->conf->name);
    c->state = RL_MQTT_UP;
    c->failures = 0;
    c->heard_at = rl_loop_now(c->loop);
    rl_mqtt_client_forget_addresses(c);
    uv_timer_start(&c->timer, on_timer, beat, beat);
    c->events->up(c->owner, c->resumed);
    c->events->turn(c->owner);
    write_out(c); /* before anything is read that could hold it up */
}

static bool read_in(rl_mqtt_client *c)
{
    c->heard_at = rl_loop_now(c->loop);
    for (int i = 0; i < READS_PER_TURN && (c->reading || c->state != RL_MQTT_UP); i++) {
        errno = 0;
        int rc = mosquitto_loop_read(c->mosq, 1);
        int error = errno;
        if (!stands(c, rc))
            return false;
        if (c->welcomed && c->state == RL_MQTT_DIALLING)
            become_up(c);
        /* What is answered late, a broker that restarts may say again (Mosquitto 2.0.11, QoS 2). */
        write_out(c);
        if (!c->watched)
            return false;
        if (error == EAGAIN || (c->tls && c->state == RL_MQTT_DIALLING))
            break;
    }
    return true;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    rl_mqtt_watched *w = RL_CONTAINER_OF(poll, rl_mqtt_watched, poll);
    rl_mqtt_client *c = w->client;
    socklen_t size = sizeof(int);
    int error = 0;

    if (!c)
        return;
    if (status < 0 || c->reaching) {
        getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (status < 0 || error) {
            if (c->reaching && c->next)
                rl_mqtt_client_dial_next(c);
            else
                rl_mqtt_client_lost(c, "%s", strerror(error ? error : ECONNRESET));
            return;
        }
        c->reaching = false;
    }
    /* A handshake goes on by reading, whatever it waits for. */
    if (((events & UV_READABLE) || c->state == RL_MQTT_DIALLING) && !read_in(c))
        return;
    write_out(c);
}

/* Stale copies, and nothing that would be lost with them. */
static bool renew(rl_mqtt_client *c)
{
    if (c->state != RL_MQTT_UP || !c->exchange.stale || c->exchange.nheld || !c->whole ||
        mosquitto_want_write(c->mosq))
        return false;
    c->worn = true;
    say(c, "\xE0\0");
    rest(c, 0);
    return true;
}

static bool on_turn(rl_hook *hook)
{
    rl_mqtt_client *c = RL_CONTAINER_OF(hook, rl_mqtt_client, hook);

    if (renew(c))
        return true;
    if (!c->stirred)
        return false;
    c->stirred = false;
    if (c->state == RL_MQTT_UP)
        c->events->turn(c->owner);
    write_out(c);
    return true;
}

static void dial(rl_mqtt_client *c)
{
    if (c->worn) {
        mosquitto_destroy(c->mosq);
        rl_mqtt_client_make(c);
    }
    c->state = RL_MQTT_DIALLING;
    uv_timer_start(&c->timer, on_timer, PATIENCE, 0);
    rl_mqtt_client_look_up(c);
}

static void beat(rl_mqtt_client *c)
{
    uint64_t silence = rl_loop_now(c->loop) - c->heard_at;

    if (c->reading && silence > (uint64_t)c->conf->keepalive * 1500)
        rl_mqtt_client_lost(c, "nothing was heard for %u s", (unsigned)(silence / 1000));
    else
        say(c, "\xC0\0");
}

static void on_timer(uv_timer_t *timer)
{
    rl_mqtt_client *c = timer->data;

    switch (c->state) {
    case RL_MQTT_RESTING:
        dial(c);
        break;
    case RL_MQTT_DIALLING:
        rl_mqtt_client_lost(c, "no answer within %d s", PATIENCE / 1000);
        break;
    case RL_MQTT_UP:
        beat(c);
        break;
    case RL_MQTT_LEAVING:
        finish(c);
        break;
    case RL_MQTT_CLOSING:
        break;
    }
}

int rl_mqtt_client_open(rl_mqtt_client **out, rl_loop *loop, const rl_mqtt_config *conf,
                        const char *id, const rl_mqtt_client_events *events, void *owner,
                        rl_err *err)
{
    rl_tls_broker *tls = NULL;

    if (conf->tls) {
        int rc = rl_tls_broker_open(&tls, conf->host, conf->ca, conf->cert, conf->key, err);
        if (rc < 0)
            return rc;
    }
    rl_mqtt_client *c = rl_calloc(1, sizeof(*c));
    c->loop = loop;
    c->conf = conf;
    c->events = events;
    c->owner = owner;
    c->id = rl_strdup(id);
    c->tls = tls;
    c->reading = true;
    rl_mqtt_client_make(c);
    rl_loop_add_hook(loop, RL_PHASE_ASK, &c->hook, on_turn);
    uv_timer_init(&loop->uv, &c->timer);
    c->timer.data = c;
    uv_timer_start(&c->timer, on_timer, 0, 0);
    *out = c;
    return 0;
}

void rl_mqtt_client_close(rl_mqtt_client *c, bool acknowledge)
{
    if (c->state != RL_MQTT_UP) {
        finish(c);
        return;
    }
    if (!acknowledge)
        say(c, "\xE0\0");
    if (!acknowledge || mosquitto_disconnect(c->mosq) != MOSQ_ERR_SUCCESS) {
        finish(c);
        return;
    }
    c->state = RL_MQTT_LEAVING;
    uv_timer_start(&c->timer, on_timer, LAST_WORDS, 0);
    write_out(c);
}

struct mosquitto *rl_mqtt_client_mosq(rl_mqtt_client *c)
{
    return c->mosq;
}

bool rl_mqtt_client_is_up(const rl_mqtt_client *c)
{
    return c->state == RL_MQTT_UP;
}

void rl_mqtt_client_stir(rl_mqtt_client *c)
{
    c->stirred = true;
    rl_loop_kick(c->loop);
}

void rl_mqtt_client_read(rl_mqtt_client *c, bool on)
{
    if (c->reading == on)
        return;
    c->reading = on;
    c->heard_at = rl_loop_now(c->loop);
    rl_mqtt_client_set_interest(c);
}

unsigned rl_mqtt_client_reconnects(const rl_mqtt_client *c)
{
    return c->ups ? c->ups - 1 : 0;
}
