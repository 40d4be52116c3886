/* proxy.h - the PROXY protocol: what a proxy says about a connection before its first byte.
 *
 * Versions 1 (a line of text) and 2 (binary), by HAProxy's specification, sections 2.1 and 2.2. A
 * parser of one header: give it what has come so far, again with more when it asks for more. It
 * keeps nothing. Nothing behind the header is looked at, so that a TLS handshake or a request may
 * stand there already. */
#ifndef RL_PROTO_PROXY_H
#define RL_PROTO_PROXY_H

#include "base/address.h"
#include "base/err.h"

/* Bytes of a header that are worth waiting for. A header of version 2 may claim 64 KiB of TLVs. */
#define RL_PROXY_MAX 4096

typedef struct rl_proxy {
    bool local; /* the proxy speaks for itself (LOCAL), or cannot tell (UNKNOWN, UNSPEC): the
                   connection's own addresses count */
    /* Whom it speaks for, and what they connected to. RL_ADDRESS_UNKNOWN when both were Unix
     * sockets of the proxy's machine: these are not ours. */
    rl_address source;
    rl_address destination;
} rl_proxy;

/* > 0: the header's length; *out is filled. 0: so far it is the beginning of one. RL_EPROTO: it is
 * none, or breaks the rules; RL_ETOOBIG: longer than RL_PROXY_MAX; with a sentence. */
int rl_proxy_parse(rl_proxy *out, rl_str in, rl_err *err) RL_MUST_USE;

#endif
