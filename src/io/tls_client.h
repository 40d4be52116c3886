/* tls_client.h - the other side of TLS: what we hold against a server that we connect to.
 *
 * As strict as tls.h: TLS 1.2 with forward secrecy, and 1.3. The server's certificate must lead to
 * somebody we trust and bear the name we asked for, unless it is said otherwise. */
#ifndef RL_IO_TLS_CLIENT_H
#define RL_IO_TLS_CLIENT_H

#include "base/err.h"

#include <stdbool.h>

typedef struct rl_tls_client rl_tls_client;

typedef struct rl_tls_client_config {
    const char *ca;   /* a file in PEM: who may vouch for servers; NULL: those the system trusts */
    const char *cert; /* a file in PEM: our certificate; NULL: we have none */
    const char *key;  /* its key; NULL: in the same file */
    const char *name; /* of the server; NULL: any will do, and none is asked for */
    bool unverified;  /* believe everybody */
} rl_tls_client_config;

/* Reads the files; on failure one sentence. */
int rl_tls_client_open(rl_tls_client **out, const rl_tls_client_config *config,
                       rl_err *err) RL_MUST_USE;
void rl_tls_client_close(rl_tls_client *tls); /* connections that exist go on; NULL is fine */

/* For tls_stream.c; and for tls_broker.c, whose connections are made by others: it has everything
 * but the name. */
struct ssl_st *rl_tls_client_new_ssl(rl_tls_client *tls);
struct ssl_ctx_st *rl_tls_client_context(rl_tls_client *tls);

#endif
