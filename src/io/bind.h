/* bind.h - sockets that could listen, made of addresses.
 *
 * Binding comes before serving, so that what is wrong with an address is told before anything
 * runs: nobody can connect until the workers listen (io/listener.h). One address may be several
 * sockets: `localhost` has two families, `systemd` as many as it likes. */
#ifndef RL_IO_BIND_H
#define RL_IO_BIND_H

#include "base/err.h"

#include <sys/types.h>

#define RL_MAX_SOCKETS 64

/* Bytes that the kernel keeps for a connection beside those on their way: more are left to us, where
 * they are counted, and bounded. */
#define RL_KERNEL_UNSENT (128 * 1024)

/* What every TCP socket of ours has that listens, and with it what it accepts. */
void rl_socket_tune(int fd);

/* A bound socket, and what is spoken on it: it goes with it through threads. */
typedef struct rl_bound {
    int fd;
    bool tls;            /* by its address: connections begin with a handshake */
    bool proxied;        /* by its address: they begin with a PROXY header, before any handshake */
    struct rl_tls *keys; /* with tls; to be set before connections are accepted */
} rl_bound;

typedef struct rl_binding {
    rl_bound bound;
    char *address; /* as it was written */
    char *path;    /* the file we made, while it is there; NULL: none */
    dev_t dev;     /* and which one it is, */
    ino_t ino;     /* should another have taken the name */
} rl_binding;

typedef struct rl_bindings {
    rl_binding list[RL_MAX_SOCKETS];
    unsigned n;
} rl_bindings;

/* Bind all addresses (io/endpoint.h tells how they look), or none: a negative code, and one
 * sentence. A Unix socket that nobody answers behind is replaced. */
int rl_bind_all(rl_bindings *out, const char *const *addresses, size_t n, rl_err *err) RL_MUST_USE;

/* Start to listen, which fails when another process got there first. Then other workers may have
 * siblings: sockets of their own among which the kernel spreads the connections or, where it does
 * not, the same one again. */
int rl_bound_listen(const rl_bound *b, rl_err *err) RL_MUST_USE;
int rl_bound_sibling(const rl_bound *b, rl_bound *out, rl_err *err) RL_MUST_USE;

/* How people reach it: "http://127.0.0.1:8000", "https://[::1]:8443", "unix:/path". Yours. */
char *rl_bound_url(const rl_bound *b);

/* Remove the files of Unix sockets, unless somebody else's are in their place. The sockets must
 * still be open: it is by their files' numbers that they are known, and those are used again. */
void rl_bindings_unlink(rl_bindings *bs);

/* Forget them; the sockets are closed only if asked for: they may be the workers' by now. */
void rl_bindings_fini(rl_bindings *bs, bool close_sockets);

/* Did systemd pass any sockets to this process (LISTEN_FDS, LISTEN_PID)? */
bool rl_systemd_has_sockets(void);

#endif
