/* forwarded.h - what proxies say about a request that they pass on: for whom, by which scheme, to
 * which host.
 *
 * There are two families of headers: `Forwarded` (RFC 7239), and X-Forwarded-For, -Proto, -Host and
 * -Port. Each proxy adds to the right what it saw; everything to the left of what our own proxies
 * added may be invented. So the hops are walked from the right, for as long as they are trusted:
 * the first that is not is the client. Only ask when the peer itself is trusted.
 *
 * Both families at once, as when a proxy writes one and lets the other pass, are believed where
 * they say the same; where they differ neither is: the client is unknown then, and scheme and host
 * are the connection's own. So it is with what is malformed, obfuscated ("_hidden") or "unknown".
 *
 * X-Forwarded-Prefix, of either family, is what a proxy cut off the front of the path. */
#ifndef RL_PROTO_FORWARDED_H
#define RL_PROTO_FORWARDED_H

#include "base/networks.h"
#include "proto/http_head.h"

typedef enum rl_scheme { RL_SCHEME_NONE, RL_SCHEME_HTTP, RL_SCHEME_HTTPS } rl_scheme;

#define RL_FORWARDED_HOST_MAX   256 /* bytes that are believed; longer ones are malformed */
#define RL_FORWARDED_PREFIX_MAX 256

typedef struct rl_forwarded {
    bool has_client;   /* false: they do not speak of it; then it is the peer */
    rl_address client; /* may be RL_ADDRESS_UNKNOWN; its port is 0 unless it is told */
    rl_scheme scheme;  /* NONE: nobody says */
    char host[RL_FORWARDED_HOST_MAX];     /* "example.com:8443"; "": nobody says */
    char prefix[RL_FORWARDED_PREFIX_MAX]; /* "/app", never ending in a slash; "": nobody says */
} rl_forwarded;

/* False: the head says nothing of the kind, and *out is not touched. */
bool rl_forwarded_read(rl_forwarded *out, const rl_http_head *head, const rl_networks *trusted);

#endif
