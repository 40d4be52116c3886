/* endpoint.h - where to listen, as people write it.
 *
 *     [tls:]WHERE[,OPTION]…
 *
 *     127.0.0.1:8000  [::1]:8000     one address; port 0 picks one
 *     :8000  *:8000                  every address, of IPv6 and of IPv4
 *     [::]:8000                      the same; with `v6only`, or beside an IPv4 address of this
 *                                    port, IPv6 alone
 *     localhost:8000                 127.0.0.1, and ::1 where there is one
 *     unix:/run/rille.sock           options: mode=0660, user=NAME, group=NAME
 *     unix:@name                     in the abstract namespace
 *     fd:3                           a listening socket that was passed on
 *     systemd  systemd:NAME          those that systemd passed on, or those it calls NAME
 *
 * Each may have the option `proxy`: whoever connects is a proxy, and begins with the PROXY
 * protocol's header (proto/proxy.h), which with `tls:` stands in front of the handshake.
 *
 * Reading one looks at nothing but the words. */
#ifndef RL_IO_ENDPOINT_H
#define RL_IO_ENDPOINT_H

#include "base/address.h"
#include "base/err.h"

typedef enum rl_endpoint_kind {
    RL_ENDPOINT_IP,
    RL_ENDPOINT_ANY,
    RL_ENDPOINT_LOCALHOST,
    RL_ENDPOINT_UNIX,
    RL_ENDPOINT_FD,
    RL_ENDPOINT_SYSTEMD,
} rl_endpoint_kind;

#define RL_ENDPOINT_UNSET ((unsigned)-1)

typedef struct rl_endpoint {
    const char *text; /* as it was written; borrowed */
    rl_endpoint_kind kind;
    rl_address address; /* IP; the port also of ANY and LOCALHOST */
    unsigned scope;     /* IP: of a link-local address ("[fe80::1%eth0]:80"); 0: none */
    char name[108];     /* UNIX: the path, or "@name"; SYSTEMD: "" is all */
    int fd;             /* FD */
    bool tls;
    bool v6only;
    bool proxied;               /* connections begin with a PROXY header */
    unsigned mode, user, group; /* UNIX; RL_ENDPOINT_UNSET: as it comes */
} rl_endpoint;

int rl_endpoint_parse(rl_endpoint *out, const char *text, rl_err *err) RL_MUST_USE;

#endif
