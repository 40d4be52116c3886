/* conn_address.c - who is at the ends: the socket's own peers, or whom a proxy told. */
#include "io/conn_parts.h"

static rl_str key_of(rl_conn *const *c)
{
    return (rl_str){(const char *)c, sizeof(*c)};
}

void rl_conn_introduce(rl_conn *c, const rl_proxy *who)
{
    rl_proxy *kept = rl_malloc(sizeof(*kept));

    RL_CHECK(!c->introduced);
    *kept = *who;
    c->introduced = true;
    rl_map_put(&c->all->introduced, key_of(&c), kept);
}

void rl_conn_forget(rl_conn *c)
{
    c->introduced = false;
    rl_free(rl_map_remove(&c->all->introduced, key_of(&c)));
}

static const rl_proxy *told(const rl_conn *c)
{
    rl_conn *key = (rl_conn *)c;

    return c->introduced ? rl_map_get(&c->all->introduced, key_of(&key)) : NULL;
}

rl_address rl_conn_peer(const rl_conn *c)
{
    const rl_proxy *who = told(c);
    struct sockaddr_storage addr = {0};
    socklen_t n = sizeof(addr);

    if (who)
        return who->source;
    getpeername(c->fd, (struct sockaddr *)&addr, &n);
    return rl_address_of_sockaddr(&addr);
}

rl_address rl_conn_local(const rl_conn *c)
{
    const rl_proxy *who = told(c);
    struct sockaddr_storage addr = {0};
    socklen_t n = sizeof(addr);

    if (who)
        return who->destination;
    getsockname(c->fd, (struct sockaddr *)&addr, &n);
    return rl_address_of_sockaddr(&addr);
}
