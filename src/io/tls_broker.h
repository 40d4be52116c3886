/* tls_broker.h - our side of TLS for libmosquitto, which makes its connections of an SSL_CTX.
 *
 * It is handed addresses (mqtt/client.h), so everything about the server's name is in the context:
 * the name that is asked for, and the one that the certificate must bear. */
#ifndef RL_IO_TLS_BROKER_H
#define RL_IO_TLS_BROKER_H

#include "base/err.h"

typedef struct rl_tls_broker rl_tls_broker;

/* ca: a file in PEM, who may vouch for the server; NULL: those the system trusts. cert: a file in
 * PEM, our certificate; NULL: none. key: its key; NULL: in the same file. Reads the files; on
 * failure one sentence. */
int rl_tls_broker_open(rl_tls_broker **out, const char *name, const char *ca, const char *cert,
                       const char *key, rl_err *err) RL_MUST_USE;
void rl_tls_broker_close(rl_tls_broker *tls); /* its connections are closed; NULL is fine */

void *rl_tls_broker_context(rl_tls_broker *tls); /* an SSL_CTX */

/* A few bytes into the connection of this SSL, which is between two records; if there is no room,
 * they are not sent. */
void rl_tls_broker_say(void *ssl, const char *p, int n);

#endif
