#include "mqtt/client.h"

#include "base/log.h"
#include "io/tls_broker.h"
#include "mqtt/exchange.h"

#include <errno.h>
#include <mqtt_protocol.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PATIENCE = 10000,    /* ms, from looking the name up to the broker's welcome */
    LAST_WORDS = 1000,   /* ms, for a goodbye to be written */
    BACKOFF_FIRST = 250, /* ms */
    BACKOFF_MOST = 30000,
    READS_PER_TURN = 100, /* packets; then others get a look in */
};

typedef enum client_state { RESTING, DIALLING, UP, LEAVING, CLOSING } client_state;

/* A duplicate of libmosquitto's socket: that one is closed under our hands. */
typedef struct watched {
    uv_poll_t poll;
    int fd;
    rl_mqtt_client *client; /* NULL: given up */
} watched;

struct rl_mqtt_client {
    rl_loop *loop;
    const rl_mqtt_config *conf;
    const rl_mqtt_client_events *events;
    void *owner;
    char *id;
    struct mosquitto *mosq;
    rl_tls_broker *tls;
    client_state state;
    watched *watched;
    uv_timer_t timer; /* RESTING: to dial; DIALLING, LEAVING: patience; UP: the next ping */
    uv_getaddrinfo_t lookup;
    struct addrinfo *found, *next;
    rl_hook hook;
    rl_mqtt_exchange exchange;
    uint64_t heard_at; /* ms on the loop's clock */
    unsigned failures; /* since it was up */
    unsigned ups;
    int interest;  /* what is polled for */
    int refusal;   /* the CONNACK's, or DISCONNECT's, reason */
    bool looking;  /* a lookup is under way */
    bool reaching; /* the socket is not connected yet */
    bool welcomed, resumed;
    bool reading; /* wanted */
    bool whole;   /* no packet is written in part */
    bool stirred;
    bool worn;           /* libmosquitto is to be begun anew before the next dial */
    char complaint[200]; /* libmosquitto's, for want of a better reason */
};

static void dial_next(rl_mqtt_client *c);
static void make_mosq(rl_mqtt_client *c);

/* The end of a connection, and of a client */

static void free_watched(uv_handle_t *h)
{
    watched *w = RL_CONTAINER_OF((uv_poll_t *)h, watched, poll);

    close(w->fd);
    rl_free(w);
}

static void unwatch(rl_mqtt_client *c)
{
    watched *w = c->watched;

    c->watched = NULL;
    c->interest = 0;
    if (!w)
        return;
    w->client = NULL;
    shutdown(w->fd, SHUT_RDWR);
    uv_poll_stop(&w->poll);
    uv_close((uv_handle_t *)&w->poll, free_watched);
}

static void forget_addresses(rl_mqtt_client *c)
{
    if (c->found)
        uv_freeaddrinfo(c->found);
    c->found = c->next = NULL;
}

static void free_client(rl_mqtt_client *c)
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

    c->state = CLOSING;
    if (!c->looking)
        free_client(c);
}

static void finish(rl_mqtt_client *c)
{
    unwatch(c);
    forget_addresses(c);
    mosquitto_destroy(c->mosq);
    c->mosq = NULL;
    c->state = LEAVING;
    rl_loop_remove_hook(&c->hook);
    if (c->looking)
        uv_cancel((uv_req_t *)&c->lookup);
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

/* Failing, and trying again */

static void on_timer(uv_timer_t *timer);

static uint64_t backoff(unsigned failures)
{
    uint64_t most = failures < 8 ? (uint64_t)BACKOFF_FIRST << failures : BACKOFF_MOST;
    uint32_t random = 0;

    uv_random(NULL, NULL, &random, sizeof(random), 0, NULL);
    most = most < BACKOFF_MOST ? most : BACKOFF_MOST;
    return most / 2 + random % (most / 2);
}

static void rest(rl_mqtt_client *c, uint64_t after)
{
    bool was_up = c->state == UP;

    unwatch(c);
    forget_addresses(c);
    c->state = RESTING;
    c->welcomed = c->reaching = false;
    c->refusal = 0;
    c->complaint[0] = '\0';
    /* A new session knows nothing of what is held, and begins with the same numbers. */
    c->worn |= c->events->message && !c->conf->session;
    uv_timer_start(&c->timer, on_timer, after, 0);
    if (was_up)
        c->events->down(c->owner);
}

static void RL_PRINTF(2, 3) lost(rl_mqtt_client *c, const char *fmt, ...)
{
    rl_err why = {0};
    va_list args;

    if (c->state == LEAVING) {
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
static void lost_by(rl_mqtt_client *c, int rc, int error)
{
    const char *hint = "";

    if (c->refusal) {
        int r = c->refusal;
        if (!c->conf->v5 && r < 6) {
            lost(c, "the broker said: %s", mosquitto_connack_string(r));
            return;
        }
        if (r == MQTT_RC_UNSUPPORTED_PROTOCOL_VERSION)
            hint = " (try version=3.1.1)";
        lost(c, "the broker said: %s%s", mosquitto_reason_string(r), hint);
    } else if (c->complaint[0]) {
        lost(c, "%s", c->complaint);
    } else if (rc == MOSQ_ERR_ERRNO && error) {
        lost(c, "%s", strerror(error));
    } else if (rc == MOSQ_ERR_CONN_LOST || rc == MOSQ_ERR_SUCCESS || rc == MOSQ_ERR_NO_CONN) {
        lost(c, "the broker closed the connection");
    } else {
        lost(c, "%s", mosquitto_strerror(rc));
    }
}

/* Reading and writing */

static void on_poll(uv_poll_t *poll, int status, int events);

static void set_interest(rl_mqtt_client *c)
{
    bool allowed = c->state != UP || !c->events->may_write || c->events->may_write(c->owner);
    int want = 0;

    if (!c->watched)
        return;
    if (c->reading || c->state != UP)
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
    lost_by(c, rc, error);
    return false;
}

static void write_out(rl_mqtt_client *c)
{
    if (!c->watched || c->reaching)
        return;
    if (c->state == UP && c->events->may_write && !c->events->may_write(c->owner)) {
        set_interest(c);
        return;
    }
    errno = 0;
    if (mosquitto_want_write(c->mosq) && !stands(c, mosquitto_loop_write(c->mosq, 1)))
        return;
    c->whole = !mosquitto_want_write(c->mosq);
    set_interest(c);
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
    c->state = UP;
    c->failures = 0;
    c->heard_at = rl_loop_now(c->loop);
    forget_addresses(c);
    uv_timer_start(&c->timer, on_timer, beat, beat);
    c->events->up(c->owner, c->resumed);
    c->events->turn(c->owner);
    write_out(c); /* before anything is read that could hold it up */
}

static bool read_in(rl_mqtt_client *c)
{
    c->heard_at = rl_loop_now(c->loop);
    for (int i = 0; i < READS_PER_TURN && (c->reading || c->state != UP); i++) {
        errno = 0;
        int rc = mosquitto_loop_read(c->mosq, 1);
        int error = errno;
        if (!stands(c, rc))
            return false;
        if (c->welcomed && c->state == DIALLING)
            become_up(c);
        /* What is answered late, a broker that restarts may say again (Mosquitto 2.0.11, QoS 2). */
        write_out(c);
        if (!c->watched)
            return false;
        if (error == EAGAIN || (c->tls && c->state == DIALLING))
            break;
    }
    return true;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    watched *w = RL_CONTAINER_OF(poll, watched, poll);
    rl_mqtt_client *c = w->client;
    socklen_t size = sizeof(int);
    int error = 0;

    if (!c)
        return;
    if (status < 0 || c->reaching) {
        getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (status < 0 || error) {
            if (c->reaching && c->next)
                dial_next(c);
            else
                lost(c, "%s", strerror(error ? error : ECONNRESET));
            return;
        }
        c->reaching = false;
    }
    /* A handshake goes on by reading, whatever it waits for. */
    if (((events & UV_READABLE) || c->state == DIALLING) && !read_in(c))
        return;
    write_out(c);
}

/* Stale copies, and nothing that would be lost with them. */
static bool renew(rl_mqtt_client *c)
{
    if (c->state != UP || !c->exchange.stale || c->exchange.nheld || !c->whole ||
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
    if (c->state == UP)
        c->events->turn(c->owner);
    write_out(c);
    return true;
}

/* Dialling */

static void watch(rl_mqtt_client *c)
{
    unsigned patience = c->conf->keepalive * 1500u;
    watched *w = rl_calloc(1, sizeof(*w));

    w->client = c;
    w->fd = dup(mosquitto_socket(c->mosq));
    if (w->fd < 0 || uv_poll_init(&c->loop->uv, &w->poll, w->fd) < 0) {
        if (w->fd >= 0)
            close(w->fd);
        rl_free(w);
        lost(c, "no file descriptor to watch it with");
        return;
    }
    /* Where we do not read, the kernel has to notice that the broker is gone. */
    setsockopt(w->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience, sizeof(patience));
    c->watched = w;
    c->reaching = true;
    c->whole = false;
    set_interest(c);
}

static void dial_next(rl_mqtt_client *c)
{
    int rc = MOSQ_ERR_EAI;

    unwatch(c);
    while (c->next) {
        char host[64]; /* an IPv6 address and its interface */
        struct addrinfo *at = c->next;
        c->next = at->ai_next;
        if (getnameinfo(at->ai_addr, at->ai_addrlen, host, sizeof(host), NULL, 0, NI_NUMERICHOST))
            continue;
        errno = 0;
        rc = mosquitto_connect_async(c->mosq, host, c->conf->port, c->conf->keepalive);
        if (rc == MOSQ_ERR_SUCCESS && mosquitto_socket(c->mosq) >= 0) {
            watch(c);
            return;
        }
    }
    lost_by(c, rc, errno);
}

static void on_found(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    rl_mqtt_client *c = RL_CONTAINER_OF(req, rl_mqtt_client, lookup);

    c->looking = false;
    if (c->state == CLOSING) {
        uv_freeaddrinfo(found);
        free_client(c);
        return;
    }
    if (c->state != DIALLING) { /* patience is over, or it closes */
        uv_freeaddrinfo(found);
        return;
    }
    if (status < 0) {
        lost(c, "%s: %s", c->conf->host, uv_strerror(status));
        return;
    }
    c->found = c->next = found;
    dial_next(c);
}

static void dial(rl_mqtt_client *c)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};

    if (c->worn) {
        mosquitto_destroy(c->mosq);
        make_mosq(c);
    }
    c->state = DIALLING;
    uv_timer_start(&c->timer, on_timer, PATIENCE, 0);
    if (c->looking)
        return; /* still the last one's */
    c->looking = true;
    int rc = uv_getaddrinfo(&c->loop->uv, &c->lookup, on_found, c->conf->host, NULL, &hints);
    if (rc < 0) {
        c->looking = false;
        lost(c, "%s: %s", c->conf->host, uv_strerror(rc));
    }
}

static void beat(rl_mqtt_client *c)
{
    uint64_t silence = rl_loop_now(c->loop) - c->heard_at;

    if (c->reading && silence > (uint64_t)c->conf->keepalive * 1500)
        lost(c, "nothing was heard for %u s", (unsigned)(silence / 1000));
    else
        say(c, "\xC0\0");
}

static void on_timer(uv_timer_t *timer)
{
    rl_mqtt_client *c = timer->data;

    switch (c->state) {
    case RESTING:
        dial(c);
        break;
    case DIALLING:
        lost(c, "no answer within %d s", PATIENCE / 1000);
        break;
    case UP:
        beat(c);
        break;
    case LEAVING:
        finish(c);
        break;
    case CLOSING:
        break;
    }
}

/* What libmosquitto tells */

static void on_connect(struct mosquitto *m, void *obj, int reason, int flags,
                       const mosquitto_property *properties)
{
    rl_mqtt_client *c = obj;

    c->refusal = reason;
    c->welcomed = reason == 0;
    c->resumed = flags & 1;
}

static void on_disconnect(struct mosquitto *m, void *obj, int reason,
                          const mosquitto_property *properties)
{
    rl_mqtt_client *c = obj;

    if (reason >= 0x80 && !c->refusal)
        c->refusal = reason;
}

static void on_message(struct mosquitto *m, void *obj, const struct mosquitto_message *got,
                       const mosquitto_property *properties)
{
    rl_mqtt_client *c = obj;
    rl_mqtt_message message = {
        .topic = rl_str_of(got->topic),
        .payload = {got->payload ? got->payload : "", (size_t)got->payloadlen},
        .qos = got->qos,
        .retain = got->retain,
        .properties = properties,
    };

    if (got->qos == 2 && !rl_mqtt_exchange_release(&c->exchange, got->mid))
        return;
    if (c->state != LEAVING)
        c->events->message(c->owner, &message);
}

static void on_publish(struct mosquitto *m, void *obj, int mid, int reason,
                       const mosquitto_property *properties)
{
    rl_mqtt_client *c = obj;

    if (c->events->published)
        c->events->published(c->owner, mid, reason);
}

static void on_subscribe(struct mosquitto *m, void *obj, int mid, int n, const int *granted,
                         const mosquitto_property *properties)
{
    rl_mqtt_client *c = obj;

    if (c->events->answered)
        c->events->answered(c->owner, mid, n ? granted[0] : 0x80);
}

static void on_unsubscribe(struct mosquitto *m, void *obj, int mid,
                           const mosquitto_property *properties)
{
    rl_mqtt_client *c = obj;

    if (c->events->answered)
        c->events->answered(c->owner, mid, 0);
}

static void on_log(struct mosquitto *m, void *obj, int level, const char *text)
{
    rl_mqtt_client *c = obj;
    const char *reason = strrchr(text, ':'); /* OpenSSL Error[0]: error:0A000086:…:reason */

    if (level == MOSQ_LOG_DEBUG)
        rl_mqtt_exchange_read(&c->exchange, c->id, text);
    if (level != MOSQ_LOG_ERR || c->complaint[0])
        return;
    bool tls = strncmp(text, "OpenSSL", 7) == 0 && reason;
    snprintf(c->complaint, sizeof(c->complaint), "%s%s", tls ? "TLS: " : "",
             tls ? reason + 1 : text);
}

/* Making one */

static pthread_once_t library_once = PTHREAD_ONCE_INIT;

static void open_library(void)
{
    RL_CHECK(mosquitto_lib_init() == MOSQ_ERR_SUCCESS);
}

/* The properties of CONNECT can be given to a blocking connect only: to one that fails at once,
 * for want of a path. They are kept for those that follow. */
static void set_session(rl_mqtt_client *c)
{
    mosquitto_property *properties = NULL;

    if (!c->conf->v5 || !c->conf->session)
        return;
    RL_CHECK(mosquitto_property_add_int32(&properties, MQTT_PROP_SESSION_EXPIRY_INTERVAL,
                                          c->conf->session) == MOSQ_ERR_SUCCESS);
    RL_CHECK(mosquitto_connect_bind_v5(c->mosq, "", 0, c->conf->keepalive, NULL, properties) !=
             MOSQ_ERR_SUCCESS);
    mosquitto_property_free_all(&properties);
}

static void configure(rl_mqtt_client *c)
{
    const rl_mqtt_config *conf = c->conf;
    const rl_mqtt_will *will = &conf->will;
    struct mosquitto *m = c->mosq;

    mosquitto_threaded_set(m, true); /* it leaves the writing to us */
    mosquitto_int_option(m, MOSQ_OPT_PROTOCOL_VERSION,
                         conf->v5 ? MQTT_PROTOCOL_V5 : MQTT_PROTOCOL_V311);
    mosquitto_int_option(m, MOSQ_OPT_TCP_NODELAY, 1);
    /* Its own count leaks over reconnects, and ends in a protocol error; we stop reading instead.
     */
    mosquitto_int_option(m, MOSQ_OPT_RECEIVE_MAXIMUM, UINT16_MAX);
    if (conf->user)
        mosquitto_username_pw_set(m, conf->user, conf->password);
    if (c->events->message && will->topic)
        mosquitto_will_set(m, will->topic, (int)will->payload.n, will->payload.p, will->qos,
                           will->retain);
    if (c->tls)
        mosquitto_void_option(m, MOSQ_OPT_SSL_CTX, rl_tls_broker_context(c->tls));
    mosquitto_int_option(m, MOSQ_OPT_SSL_CTX_WITH_DEFAULTS, 0);
    mosquitto_connect_v5_callback_set(m, on_connect);
    mosquitto_disconnect_v5_callback_set(m, on_disconnect);
    mosquitto_message_v5_callback_set(m, on_message);
    mosquitto_publish_v5_callback_set(m, on_publish);
    mosquitto_subscribe_v5_callback_set(m, on_subscribe);
    mosquitto_unsubscribe_v5_callback_set(m, on_unsubscribe);
    mosquitto_log_callback_set(m, on_log);
    set_session(c);
}

static void make_mosq(rl_mqtt_client *c)
{
    rl_mqtt_exchange_fini(&c->exchange);
    c->worn = false;
    c->mosq = mosquitto_new(c->id, c->conf->session == 0, c);
    RL_CHECK(c->mosq != NULL);
    configure(c);
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
    pthread_once(&library_once, open_library);
    rl_mqtt_client *c = rl_calloc(1, sizeof(*c));
    c->loop = loop;
    c->conf = conf;
    c->events = events;
    c->owner = owner;
    c->id = rl_strdup(id);
    c->tls = tls;
    c->reading = true;
    make_mosq(c);
    rl_loop_add_hook(loop, RL_PHASE_ASK, &c->hook, on_turn);
    uv_timer_init(&loop->uv, &c->timer);
    c->timer.data = c;
    uv_timer_start(&c->timer, on_timer, 0, 0);
    *out = c;
    return 0;
}

void rl_mqtt_client_close(rl_mqtt_client *c, bool acknowledge)
{
    if (c->state != UP) {
        finish(c);
        return;
    }
    if (!acknowledge)
        say(c, "\xE0\0");
    if (!acknowledge || mosquitto_disconnect(c->mosq) != MOSQ_ERR_SUCCESS) {
        finish(c);
        return;
    }
    c->state = LEAVING;
    uv_timer_start(&c->timer, on_timer, LAST_WORDS, 0);
    write_out(c);
}

struct mosquitto *rl_mqtt_client_mosq(rl_mqtt_client *c)
{
    return c->mosq;
}

bool rl_mqtt_client_is_up(const rl_mqtt_client *c)
{
    return c->state == UP;
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
    set_interest(c);
}

unsigned rl_mqtt_client_reconnects(const rl_mqtt_client *c)
{
    return c->ups ? c->ups - 1 : 0;
}
