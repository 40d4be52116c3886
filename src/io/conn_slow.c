/* conn_slow.c - peers that read slowly, or not at all.
 *
 * What the kernel has taken is not what the peer has read: a full socket holds megabytes, and takes
 * more in fits and starts. So progress is what was sent less what still stands in the kernel's
 * queue, and it is looked at once per send_timeout, for as long as something waits to be sent:
 * whoever took less than min_send_rate in that time is cut off, be it by a byte a minute. A reset,
 * not an end: else the kernel would keep what nobody reads for minutes more, on behalf of a
 * connection that is gone.
 */
#include "io/conn_parts.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* Bytes that the kernel keeps for the peer. Our FIN counts as one. */
static uint32_t queued(const rl_conn *c)
{
    int n = 0;

    ioctl(c->fd, SIOCOUTQ, &n); /* fails on no stream socket */
    return (uint32_t)n - (n > 0 && c->half_closed);
}

/* Bytes that it has read, or its kernel: modulo 2^32, for differences. */
static uint32_t read_by_peer(const rl_conn *c)
{
    return (uint32_t)c->delivered + (c->tls ? rl_conn_tls_under_way(c) : 0) - queued(c);
}

void rl_conn_await_reader(rl_conn *c)
{
    c->was_read = read_by_peer(c);
    rl_timeout_start(&c->all->stalled, &c->timer);
}

static void give_up(rl_conn *c)
{
    c->all->loop->counters.lingered++;
    rl_conn_doom(c, 0);
}

void rl_conn_on_stalled(rl_timeout *t)
{
    rl_conn *c = RL_CONTAINER_OF(t, rl_conn, timer);
    uint64_t want = c->all->min_send_rate * c->all->stalled.after / 1000;
    int32_t progress = (int32_t)(read_by_peer(c) - c->was_read);

    if (c->half_closed && queued(c) == 0) {
        give_up(c);
    } else if (progress > 0 && (uint64_t)progress >= want) {
        rl_conn_await_reader(c);
    } else {
        c->all->loop->counters.stalled++;
        rl_conn_reset(c, ETIMEDOUT);
    }
}

/* The peer does not hang up: it has more to read, or no manners. */
void rl_conn_on_lingered(rl_timeout *t)
{
    rl_conn *c = RL_CONTAINER_OF(t, rl_conn, timer);

    if (queued(c) > 0)
        rl_conn_await_reader(c);
    else
        give_up(c);
}

void rl_conn_reset(rl_conn *c, int error)
{
    const struct linger none = {.l_onoff = 1};

    if (c->closed)
        return;
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none)); /* Unix sockets need none */
    rl_conn_doom(c, error);
}
