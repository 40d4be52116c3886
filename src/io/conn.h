/* conn.h - a byte stream over a socket: one recv a wake-up, one send a turn.
 *
 * Reading goes into the loop's shared buffer; what the owner does not use at once is
 * kept in a buffer of the connection's own, which exists only while it holds something.
 * Writing appends to a cork buffer that a hook sends at the end of the turn: whatever is
 * written in one turn leaves in one send. An idle connection therefore holds no buffer.
 *
 * Over TLS the same holds for the plaintext: one recv, one send, and no buffer when idle but the
 * SSL's own state. The peer's close_notify is its FIN, and we send one with our last byte; without
 * one, its FIN is a failure. During the handshake, which goes on off the loop, the owner hears
 * nothing but its end.
 *
 * A connection belongs to an owner that can change (HTTP hands over to WebSocket). All
 * events come from the loop, never from inside rl_conn_write() or rl_conn_close(). It writes
 * nothing before its first on_data. */
#ifndef RL_IO_CONN_H
#define RL_IO_CONN_H

#include "base/address.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/map.h"
#include "base/shared.h"
#include "base/slab.h"
#include "io/batch.h"
#include "io/poller.h"
#include "io/timeout.h"
#include "io/tls_stream.h"
#include "proto/proxy.h"

#include <stdatomic.h>

#define RL_CONN_HIGH_WATER (64 * 1024) /* unless conns.high_water is set to something else */

typedef struct rl_conn rl_conn;
typedef struct rl_conns rl_conns;

typedef struct rl_conn_events {
    /* Bytes came. They are yours to change, valid during the call. Return how many were used;
     * the rest is offered again in front of what follows. Not called while paused, unless
     * the peer hung up: what it sent before is bounded, and is offered without delay. */
    size_t (*on_data)(void *owner, char *p, size_t n);
    void (*on_drain)(void *owner);
    /* The peer will send no more but may still read. True keeps the connection open for
     * writing, which the owner must then end; false, or no function, closes it. */
    bool (*on_eof)(void *owner);
    /* The last event. why is NULL when rl_conn_close() asked for it, and says what the
     * peer or the network did otherwise (RL_ECLOSED: the peer closed in order). */
    void (*on_closed)(void *owner, const rl_err *why);
} rl_conn_events;

/* How many connections there are, for other threads to see: of these, and of all that count in
 * `everywhere`. */
typedef struct rl_tally {
    _Atomic unsigned here;
    _Atomic unsigned *everywhere;
    _Atomic unsigned alone; /* what everywhere is to begin with */
} rl_tally;

/* What all connections of a worker share. */
struct rl_conns {
    rl_loop *loop;
    rl_poller poller;
    rl_slab memory; /* theirs */
    rl_hook flush;
    rl_list dirty;   /* connections with something to send this turn */
    rl_list sending; /* those of them that have bytes for the batch */
    rl_batch *sends, *recvs;
    rl_conn *ready[RL_BATCH_MAX]; /* what the poller told, until it has told all */
    unsigned nready;
    char *slots;            /* where the batch receives */
    rl_list doomed;         /* connections whose on_closed is due */
    rl_timeouts lingering;  /* finishing connections whose peer does not hang up */
    rl_timeouts stalled;    /* connections whose peer does not read, or slowly */
    uint64_t min_send_rate; /* bytes a second that it must read, looked at when stalled is due */
    rl_buf spare[64];       /* cork buffers, lent for as long as they hold something */
    unsigned nspare;
    size_t high_water; /* unsent bytes above which writers ought to wait; on_drain comes when a
                          quarter is left */
    bool counts_peers; /* some connection was entered into peers.h */
    rl_map introduced; /* for whom proxies speak: an rl_proxy by its rl_conn's address */
    unsigned count;    /* connections that are not yet gone */
    rl_tally tally;    /* the same */
    uint64_t received, delivered; /* bytes of them all, the gone included */
};

struct rl_conn {
    rl_conns *all;
    const rl_conn_events *events;
    void *owner;
    rl_buf in;               /* offered, not used */
    rl_buf out;              /* out.len - sent bytes wait to be sent */
    struct rl_conn_tls *tls; /* NULL: plain */
    rl_shared *lent; /* out is these, without a copy (and has no cap): nothing else was written */
    uint32_t sent;
    int fd;
    int error;                    /* errno that ended it; 0: the peer closed, or we did */
    rl_list link;                 /* on conns.dirty or conns.doomed */
    rl_timeout timer;             /* on lingering or stalled */
    uint64_t received, delivered; /* bytes, for the access log */
    uint32_t was_read;            /* by the peer, when it was last looked at; modulo 2^32 */
    uint8_t mask;                 /* what the poller watches for */
    bool paused : 1;
    bool blocked : 1;     /* the socket is full: the poller tells when it is not */
    bool over : 1;        /* on_drain is owed */
    bool resumed : 1;     /* what was kept is to be offered this turn */
    bool hung_up : 1;     /* the peer is leaving: pausing is over */
    bool eof : 1;         /* it has nothing more to say */
    bool finishing : 1;   /* close once everything is sent */
    bool half_closed : 1; /* our FIN is out; read and discard until the peer's */
    bool closed : 1;
    bool by_us : 1;      /* rl_conn_close() or _finish() asked for it */
    bool in_data : 1;    /* on_data is on the stack */
    bool bulk : 1;       /* sends more at once than fits into a slot; or speaks TLS */
    bool busy : 1;       /* another thread works on its handshake */
    bool introduced : 1; /* its proxy said for whom it speaks */
    bool parting : 1;    /* finishing, and its FIN need not be waited for */
};

int rl_conns_init(rl_conns *all, rl_loop *loop) RL_MUST_USE; /* 0 or -errno */
void rl_conns_abort(rl_conns *all); /* close those that only wait to send their last */
void rl_conns_fini(rl_conns *all);  /* every connection must be gone */

/* Takes fd, a connected, non-blocking stream socket; keys: its peer is to speak TLS, NULL: plain.
 * Reading starts at once, from the loop. NULL, and fd closed, when the kernel cannot watch another
 * one. */
rl_conn *rl_conn_open(rl_conns *all, int fd, rl_tls *keys, const rl_conn_events *events,
                      void *owner);
void rl_conn_own(rl_conn *c, const rl_conn_events *events, void *owner); /* hand over */

/* Copied. Nothing happens on a closed connection: its on_closed is on the way. */
void rl_conn_write(rl_conn *c, const void *p, size_t n);
void rl_conn_write2(rl_conn *c, const void *head, size_t nhead, const void *p, size_t n);
/* Where n bytes can be put that leave at the end of the turn with what else is written; the caller
 * says how many it has put there, at once. NULL: they may not be, or not without more ado
 * (rl_conn_write). */
char *rl_conn_room(rl_conn *c, size_t n);
static inline void rl_conn_filled(rl_conn *c, size_t n)
{
    c->out.len += n;
}
/* Sent from where they are, unless more is written in the same turn. */
void rl_conn_write_shared(rl_conn *c, rl_shared *bytes);
static inline size_t rl_conn_pending(const rl_conn *c) /* bytes not yet in the kernel */
{
    return c->out.len - c->sent;
}
/* True: above the high water; on_drain will come. */
bool rl_conn_is_over(rl_conn *c);

void rl_conn_pause(rl_conn *c);  /* stop reading; a peer that hangs up is noticed still */
void rl_conn_resume(rl_conn *c); /* what was kept is offered from the loop */

/* Send what is pending, then close; a peer that does not read is waited for as long as any other
 * that stalls (30 s). No on_data from now on. */
void rl_conn_finish(rl_conn *c);
/* The same for a peer that has promised to say no more, and has been read to its last word: closed
 * when everything is sent, without the wait for its FIN, which saves a turn and three system calls.
 * (Over TLS its close_notify is still to come, and would be met with a reset: it is waited for.) */
void rl_conn_part(rl_conn *c);
/* Drop what is pending, the kernel's share included, for a peer that does not answer. */
void rl_conn_reset(rl_conn *c, int error);
/* Drop what is pending and close. on_closed follows from the loop; repeating is harmless. */
void rl_conn_close(rl_conn *c);

/* To another process: its descriptor, yours, and what was read of it and not used, behind out. Here
 * it is closed, without the peer's noticing: on_closed follows. Plain, and with nothing pending. */
int rl_conn_leave(rl_conn *c, rl_buf *out);
/* The other end of that: as rl_conn_open(), paused. */
rl_conn *rl_conn_arrive(rl_conns *all, int fd, rl_str *in, const rl_conn_events *events,
                        void *owner);

bool rl_conn_is_tls(const rl_conn *c);
/* False: it is plain, or still in its handshake. */
bool rl_conn_tls_facts(const rl_conn *c, rl_tls_facts *out);

/* The socket's peer is a proxy: from now on the connection's addresses are those it told. They are
 * kept beside, so that a connection without a proxy has no room for them. */
void rl_conn_introduce(rl_conn *c, const rl_proxy *who);
rl_address rl_conn_peer(const rl_conn *c);
rl_address rl_conn_local(const rl_conn *c);

#endif
