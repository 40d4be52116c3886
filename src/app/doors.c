#include "app/doors.h"

#include "base/log.h"

#include <unistd.h>

static int bind_public(rl_doors *d, const rl_settings *s, const rl_loaded *loaded, rl_err *err)
{
    const char *addresses[RL_MAX_ADDRESSES] = {"127.0.0.1:8000"};
    unsigned count = 1;

    if (s->only_channels || s->command == RL_CMD_SHELL)
        return 0;
    if (s->nlisten) {
        for (count = 0; count < s->nlisten; count++)
            addresses[count] = s->listen[count];
    } else if (rl_systemd_has_sockets()) {
        addresses[0] = "systemd";
    } else if (loaded->nlisten) {
        for (count = 0; count < loaded->nlisten && count < RL_MAX_ADDRESSES; count++)
            addresses[count] = loaded->listen[count];
    }

    return rl_bind_all(&d->public, addresses, count, err);
}

static int bind_admin(rl_doors *d, const rl_settings *s, const rl_loaded *loaded, rl_err *err)
{
    const char *address = s->admin ? s->admin : loaded->admin;

    return address && s->command != RL_CMD_SHELL ? rl_bind_all(&d->admin, &address, 1, err) : 0;
}

int rl_doors_bind(rl_doors *d, const rl_settings *s, const rl_loaded *loaded, rl_err *err)
{
    int rc = bind_public(d, s, loaded, err);

    return rc == 0 ? bind_admin(d, s, loaded, err) : rc;
}

static unsigned count_tls(const rl_bindings *bs)
{
    unsigned n = 0;

    for (unsigned i = 0; i < bs->n; i++)
        n += bs->list[i].bound.tls;
    return n;
}

static void set_keys(rl_bindings *bs, rl_tls *keys)
{
    for (unsigned i = 0; i < bs->n; i++)
        bs->list[i].bound.keys = bs->list[i].bound.tls ? keys : NULL;
}

/* What the handshakes on these sockets use. */
static int hand_out_keys(rl_doors *d, const rl_settings *s, const rl_loaded *loaded, rl_err *err)
{
    rl_certificates *cs = &d->certificates;
    unsigned wanted = count_tls(&d->public) + count_tls(&d->admin);

    if (!wanted && s->tls.ncerts)
        rl_warn("there are certificates, but no address begins with tls:");
    if (!wanted)
        return 0;
    int rc = rl_certificates_open(cs, &s->tls, loaded->tls, loaded->ntls, err);
    if (rc < 0)
        return rc;
    set_keys(&d->public, cs->tls);
    set_keys(&d->admin, cs->tls);
    return 0;
}

int rl_doors_dress(rl_doors *d, const rl_settings *s, const rl_loaded *loaded, rl_err *err)
{
    for (unsigned i = 0; i < d->public.n; i++)
        d->urls[d->nurls++] = rl_bound_url(&d->public.list[i].bound);
    return hand_out_keys(d, s, loaded, err);
}

int rl_doors_spread(rl_doors *d, unsigned workers, rl_err *err)
{
    const rl_bindings *bs = &d->public;
    unsigned made = 0;
    int rc = 0;

    d->sockets = rl_calloc(workers * bs->n, sizeof(*d->sockets));
    for (unsigned i = 0; rc == 0 && i < bs->n; i++) {
        rc = rl_bound_listen(&bs->list[i].bound, err);
        d->sockets[made++] = bs->list[i].bound;
    }
    while (rc == 0 && made < workers * bs->n) {
        rc = rl_bound_sibling(&bs->list[made % bs->n].bound, &d->sockets[made], err);
        made += rc == 0;
    }
    while (rc < 0 && made > bs->n)
        close(d->sockets[--made].fd);
    return rc;
}

void rl_doors_take(rl_doors *d, rl_bound *sockets, unsigned n)
{
    d->sockets = sockets;
    for (unsigned i = 0; i < n; i++)
        sockets[i].keys = d->public.list[i % d->public.n].bound.keys;
}

void rl_doors_close(rl_doors *d)
{
    rl_bindings_unlink(&d->public);
    rl_bindings_fini(&d->public, !d->given);
    rl_bindings_fini(&d->admin, !d->admin_given);
    rl_certificates_close(&d->certificates);
    while (d->nurls)
        rl_free(d->urls[--d->nurls]);
    rl_free(d->sockets);
}
