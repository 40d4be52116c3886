/* tls_tickets.h - the keys that session tickets are sealed with.
 *
 * A ticket is a session that the client keeps for us. All threads have the same keys, which are
 * never written down; every few hours new tickets get a new key, and those of the key before are
 * taken until the next change, and renewed. */
#ifndef RL_IO_TLS_TICKETS_H
#define RL_IO_TLS_TICKETS_H

#include "base/base.h"

#include <openssl/ssl.h>
#include <pthread.h>

enum { RL_TLS_TICKET_SECONDS = 2 * 3600 }; /* for which a ticket is good, and a key seals */

typedef struct rl_ticket_key {
    uint8_t name[16], cipher[32], mac[32];
    int64_t born; /* seconds, monotonic; 0: there is none */
} rl_ticket_key;

typedef struct rl_tickets {
    pthread_mutex_t lock;
    rl_ticket_key now, before; /* guarded by lock */
    EVP_CIPHER *cipher;        /* looked up once: OpenSSL 3 is slow at it */
} rl_tickets;

void rl_tickets_init(rl_tickets *ts);
void rl_tickets_fini(rl_tickets *ts);

/* As SSL_CTX_set_tlsext_ticket_key_evp_cb() wants it, but for whose keys. */
int rl_tickets_serve(rl_tickets *ts, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int seal);

/* For its unit: as if the present key had been born so long ago. */
void rl_tickets_age(rl_tickets *ts, int64_t seconds);

#endif
