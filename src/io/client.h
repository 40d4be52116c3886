/* client.h - a byte stream that we open ourselves: to a Redis, say.
 *
 * The counterpart of conn.h, for the few connections a worker makes rather than the many it takes.
 * Writing gathers until the end of the turn and leaves in one send; an idle stream holds no
 * buffer. Over TLS (tls_client.h) the same holds for the plaintext; the handshake is part of the
 * opening, and done on the loop, since the costly side of it is the server's.
 *
 * All events come from the loop, never from inside a function that was called here. */
#ifndef RL_IO_CLIENT_H
#define RL_IO_CLIENT_H

#include "base/buf.h"
#include "io/dial.h"
#include "io/tls_client.h"

typedef struct rl_client rl_client;

typedef struct rl_client_events {
    void (*on_open)(void *owner);
    void (*on_data)(void *owner, const char *p, size_t n); /* valid during the call */
    /* The last event. why is NULL when rl_client_close() asked for it. */
    void (*on_closed)(void *owner, const rl_err *why);
} rl_client_events;

typedef struct rl_client_opts {
    rl_dial_opts where;
    rl_tls_client *tls; /* borrowed for the call; NULL: plain */
    uint64_t patience;  /* ms, for all of the opening */
} rl_client_opts;

rl_client *rl_client_open(rl_loop *loop, const rl_client_opts *opts, const rl_client_events *events,
                          void *owner);

/* A connected, non-blocking socket, which is taken: open already, so on_open does not come. NULL,
 * and fd closed, when the kernel cannot watch another one. */
rl_client *rl_client_adopt(rl_loop *loop, int fd, const rl_client_events *events, void *owner);

/* Once it is open. Copied. It leaves in that phase of the turn, or with what was written before it:
 * at RL_PHASE_ASK what somebody waits for; at RL_PHASE_WRITE, behind what is written to peers, what
 * can wait. Nothing happens on a closed one: its on_closed is on the way. */
void rl_client_write(rl_client *c, const void *p, size_t n, rl_phase phase);

/* How many of the bytes written may have left this machine. */
uint64_t rl_client_gone(const rl_client *c);
size_t rl_client_pending(const rl_client *c); /* bytes that the kernel has not taken yet */

/* Drop what is pending and close. on_closed follows; repeating is harmless. */
void rl_client_close(rl_client *c);

#endif
