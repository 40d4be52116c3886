/* tls.h - what a server's TLS is made of: certificates, rules, and the keys of tickets.
 *
 * One rl_tls serves all threads. Its certificates can be exchanged at any time: a handshake that
 * begins afterwards has the new ones, and connections that exist go on with theirs. Tickets
 * outlive an exchange, so that clients resume across it.
 *
 * The rules are those of Mozilla's "intermediate" list: TLS 1.2 with forward secrecy and
 * authenticated ciphers only, and 1.3; no compression, no renegotiation, no early data. The one
 * protocol that is agreed to (ALPN) is http/1.1. */
#ifndef RL_IO_TLS_H
#define RL_IO_TLS_H

#include "base/err.h"
#include "io/offload.h"

#define RL_TLS_MAX_PAIRS 32

typedef struct rl_tls rl_tls;
struct ssl_ctx_st;

typedef struct rl_tls_pair {
    const char *cert; /* a file in PEM: the certificate, then those that lead to a known one */
    const char *key;  /* its private key in PEM; NULL: in the same file */
} rl_tls_pair;

typedef enum rl_tls_clients { RL_TLS_ASK_NONE, RL_TLS_ASK, RL_TLS_INSIST } rl_tls_clients;

typedef struct rl_tls_config {
    rl_tls_pair pairs[RL_TLS_MAX_PAIRS]; /* the first serves whoever asks for no known name */
    unsigned npairs;
    const char *passphrase; /* of encrypted keys; NULL: there are none */
    bool only_13;           /* no TLS 1.2 */
    const char *client_ca;  /* a file in PEM: who may vouch for clients; NULL: nobody is asked */
    rl_tls_clients clients; /* with client_ca: may they come without a certificate? */
} rl_tls_config;

/* Reads every file. On failure there is one sentence with the file's name, and nothing is left.
 * What is odd, but works (an expired certificate), is logged as a warning. */
int rl_tls_open(rl_tls **out, const rl_tls_config *config, rl_err *err) RL_MUST_USE;
/* Reads the files again, or others. On failure those before serve on. */
int rl_tls_reload(rl_tls *tls, const rl_tls_config *config, rl_err *err) RL_MUST_USE;
/* No connection may be left. NULL is fine. */
void rl_tls_close(rl_tls *tls);

/* Where handshakes are worked on. */
rl_offload *rl_tls_offload(rl_tls *tls);

/* For tls_stream.c: an SSL of the certificates that serve now. */
struct ssl_st *rl_tls_new_ssl(rl_tls *tls);

/* For tls_client.c: the rules above, those that both sides have. */
void rl_tls_set_rules(struct ssl_ctx_st *ctx);

/* The oldest of OpenSSL's complaints on this thread, in words; static. */
const char *rl_tls_complaint(void);

#endif
