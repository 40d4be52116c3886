#include "control/giving.h"

#include "base/log.h"
#include "base/pack.h"
#include "core/moving.h"

/* Sockets */

static int send_listener(int link, unsigned whose, const rl_bound *b, const char *path)
{
    rl_buf packet = {0};

    rl_pack_u32(&packet, whose);
    rl_pack_u32(&packet, (b->tls ? RL_LINK_TLS : 0) | (b->proxied ? RL_LINK_PROXIED : 0));
    rl_pack_bytes(&packet, rl_str_of(path ? path : ""));
    int rc = rl_link_send(link, RL_LINK_LISTENER, rl_buf_str(&packet), &b->fd, 1);
    rl_buf_fini(&packet);
    return rc;
}

static int send_bindings(int link, unsigned whose, const rl_bindings *bs)
{
    int rc = 0;

    for (unsigned i = 0; rc == 0 && bs && i < bs->n; i++)
        rc = send_listener(link, whose, &bs->list[i].bound, bs->list[i].path);
    return rc;
}

int rl_give_sockets(int link, const rl_estate *e, unsigned workers)
{
    rl_buf packet = {0};
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < workers * e->n; i++)
        rc = send_listener(link, i / e->n, &e->sockets[i],
                           i < e->n ? e->public->list[i].path : NULL);
    if (rc == 0)
        rc = send_bindings(link, RL_LINK_ADMIN, e->admin);
    if (rc == 0)
        rc = send_bindings(link, RL_LINK_CONTROL, e->control);
    rl_pack_u32(&packet, workers);
    if (rc == 0)
        rc = rl_link_send(link, RL_LINK_HAVE, rl_buf_str(&packet), NULL, 0);
    rl_buf_fini(&packet);
    return rc;
}

/* Connections */

/* What goes in one packet. */
struct parcel {
    rl_buf bytes;
    int fds[RL_LINK_FDS];
    unsigned n;
};

static int post_parcel(int link, struct parcel *p, unsigned *given)
{
    int rc =
        p->n ? rl_link_send(link, RL_LINK_CONNECTIONS, rl_buf_str(&p->bytes), p->fds, p->n) : 0;

    if (rc == 0)
        *given += p->n;
    rl_buf_clear(&p->bytes);
    p->n = 0;
    return rc;
}

int rl_give_connections(int link, unsigned worker, const rl_list *moving, unsigned *given)
{
    struct parcel p = {0};
    int rc = 0;

    RL_LIST_EACH (it, moving) {
        const rl_moving *m = RL_LIST_ENTRY(it, rl_moving, link);
        if (m->bytes.len > RL_LINK_MAX - 64) {
            rl_warn("a connection is closed: what its consumer holds is too long to move");
            continue;
        }
        if (p.n == RL_LINK_FDS || p.bytes.len + m->bytes.len > RL_LINK_MAX - 16)
            rc = post_parcel(link, &p, given);
        if (rc < 0)
            break;
        if (p.n == 0)
            rl_pack_u32(&p.bytes, worker);
        rl_pack_bytes(&p.bytes, rl_buf_str(&m->bytes));
        p.fds[p.n++] = m->fd;
    }
    if (rc == 0)
        rc = post_parcel(link, &p, given);
    rl_buf_fini(&p.bytes);
    return rc;
}
