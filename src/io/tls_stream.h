/* tls_stream.h - one connection's TLS, from memory to memory: no socket, no clock.
 *
 * What came from the peer is lent (`in`, `nin`) and read from where it is; what is to go out to
 * it appends to `out`. A handshake may be worked on by any thread, one at a time. */
#ifndef RL_IO_TLS_STREAM_H
#define RL_IO_TLS_STREAM_H

#include "base/buf.h"
#include "io/tls.h"
#include "io/tls_client.h"

/* A record's content; whatever was read, no more than this comes out of it at first. */
#define RL_TLS_RECORD_MAX 16384

typedef struct rl_tls_stream {
    struct ssl_st *ssl;
    const char *in; /* ciphertext that is not read yet; borrowed */
    size_t nin;
    rl_buf out;      /* ciphertext to send; whoever sends it takes it from here */
    const char *why; /* what is wrong, once something is; static */
    bool open : 1;   /* the handshake is done */
    bool ended : 1;  /* the peer said that it will send no more */
    bool said : 1;   /* and so did we */
    bool broken : 1;
} rl_tls_stream;

void rl_tls_stream_init(rl_tls_stream *s, rl_tls *tls); /* the peer is our client */
/* The peer is a server: the first rl_tls_stream_handshake(), with nothing come yet, greets it. */
void rl_tls_stream_init_client(rl_tls_stream *s, rl_tls_client *tls);
void rl_tls_stream_fini(rl_tls_stream *s);

/* Go on with what came. 1: done; 0: more is needed; RL_EPROTO: failed, and out has what the peer
 * is to hear of it. */
int rl_tls_stream_handshake(rl_tls_stream *s);

/* Decrypted bytes, up to n of them. 0: more is needed; RL_ECLOSED: the peer ended; RL_EPROTO. The
 * place may be where `in` is, RL_TLS_RECORD_MAX or more in front of it: no byte is overwritten
 * before it was read. */
int rl_tls_stream_read(rl_tls_stream *s, char *into, size_t n);

/* Encrypt into out. */
void rl_tls_stream_seal(rl_tls_stream *s, const char *p, size_t n);
void rl_tls_stream_end(rl_tls_stream *s); /* we will send no more; repeating is harmless */

/* For people and scripts; valid for the stream's life, but for client_name. */
typedef struct rl_tls_facts {
    const char *version;     /* "TLSv1.3" */
    const char *cipher;      /* "TLS_AES_128_GCM_SHA256" */
    rl_str alpn;             /* empty: none was agreed to */
    const char *server_name; /* NULL: none was asked for */
    bool resumed;
    char client_name[256]; /* RFC 4514; "": no certificate came */
} rl_tls_facts;

void rl_tls_stream_describe(const rl_tls_stream *s, rl_tls_facts *out); /* an open one */

#endif
