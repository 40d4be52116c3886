/* client_dial.c - from a name to a socket that is polled: an address after the other. */
#include "mqtt/client_parts.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

/* The socket */

static void free_watched(uv_handle_t *h)
{
    rl_mqtt_watched *w = RL_CONTAINER_OF((uv_poll_t *)h, rl_mqtt_watched, poll);

    close(w->fd);
    rl_free(w);
}

void rl_mqtt_client_unwatch(rl_mqtt_client *c)
{
    rl_mqtt_watched *w = c->watched;

    c->watched = NULL;
    c->interest = 0;
    if (!w)
        return;
    w->client = NULL;
    shutdown(w->fd, SHUT_RDWR);
    uv_poll_stop(&w->poll);
    uv_close((uv_handle_t *)&w->poll, free_watched);
}

static void watch(rl_mqtt_client *c)
{
    unsigned patience = c->conf->keepalive * 1500u;
    rl_mqtt_watched *w = rl_calloc(1, sizeof(*w));

    w->client = c;
    w->fd = dup(mosquitto_socket(c->mosq));
    if (w->fd < 0 || uv_poll_init(&c->loop->uv, &w->poll, w->fd) < 0) {
        if (w->fd >= 0)
            close(w->fd);
        rl_free(w);
        rl_mqtt_client_lost(c, "no file descriptor to watch it with");
        return;
    }
    /* Where we do not read, the kernel has to notice that the broker is gone. */
    setsockopt(w->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience, sizeof(patience));
    c->watched = w;
    c->reaching = true;
    c->whole = false;
    rl_mqtt_client_set_interest(c);
}

/* The addresses */

void rl_mqtt_client_forget_addresses(rl_mqtt_client *c)
{
    if (c->found)
        uv_freeaddrinfo(c->found);
    c->found = c->next = NULL;
}

void rl_mqtt_client_dial_next(rl_mqtt_client *c)
{
    int rc = MOSQ_ERR_EAI;

    rl_mqtt_client_unwatch(c);
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
    rl_mqtt_client_lost_by(c, rc, errno);
}

static void on_found(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    rl_mqtt_client *c = RL_CONTAINER_OF(req, rl_mqtt_client, lookup);

    c->looking = false;
    if (c->state == RL_MQTT_CLOSING) {
        uv_freeaddrinfo(found);
        rl_mqtt_client_free(c);
        return;
    }
    if (c->state != RL_MQTT_DIALLING) { /* patience is over, or it closes */
        uv_freeaddrinfo(found);
        return;
    }
    if (status < 0) {
        rl_mqtt_client_lost(c, "%s: %s", c->conf->host, uv_strerror(status));
        return;
    }
    c->found = c->next = found;
    rl_mqtt_client_dial_next(c);
}

void rl_mqtt_client_look_up(rl_mqtt_client *c)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};

    if (c->looking)
        return; /* still the last one's */
    c->looking = true;
    int rc = uv_getaddrinfo(&c->loop->uv, &c->lookup, on_found, c->conf->host, NULL, &hints);
    if (rc < 0) {
        c->looking = false;
        rl_mqtt_client_lost(c, "%s: %s", c->conf->host, uv_strerror(rc));
    }
}
