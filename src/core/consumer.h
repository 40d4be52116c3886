/* consumer.h - the C half of a consumer: its mailbox, its life, its way to the peer.
 *
 * One per request or connection, or fed by a source in the background (background.h). Events come
 * in order and one at a time: the next begins when the handler of the one before has ended.
 * `disconnect` runs exactly once after `connect` (or `handle`) has begun, as the last event,
 * whatever ended it; then the core leaves the groups, cancels the tasks the consumer spawned, and
 * forgets it.
 *
 *   OPENING --> OPEN --> LEAVING --> (gone)
 *      '-------------------^
 *
 * Lua knows a consumer by a number that no later one shares, so a stale `self` finds nothing
 * instead of a stranger. */
#ifndef RL_CORE_CONSUMER_H
#define RL_CORE_CONSUMER_H

#include "core/event.h"
#include "core/worker.h"
#include "net/http_conn.h"
#include "net/ws_conn.h"
#include "vm/waiters.h"

enum rl_consumer_kind { RL_CONSUMER_HTTP, RL_CONSUMER_WEBSOCKET, RL_CONSUMER_BACKGROUND };
enum rl_consumer_state { RL_CONSUMER_OPENING, RL_CONSUMER_OPEN, RL_CONSUMER_LEAVING };

#define RL_STREAM_SILENT UINT8_MAX /* nothing is sent to keep it alive */

typedef struct rl_source rl_source;

struct rl_consumer {
    rl_worker *worker;
    double id;                 /* in the worker's roster, and in Lua self._id */
    rl_generation *generation; /* of the code that self's class is from */
    unsigned epoch;            /* of the worker's generations, when it last looked */
    uint8_t kind, state;
    uint8_t stream;    /* an event stream: 1 + which of worker.beats, or RL_STREAM_SILENT */
    bool bound : 1;    /* self exists: disconnect is owed */
    bool accepted : 1; /* WebSocket: 101 was sent. HTTP: the answer has begun */
    bool gone : 1;     /* the peer is, or the request was refused */
    bool failed : 1;   /* a handler raised: nothing but disconnect follows */
    bool pumping : 1;
    bool own_send : 1; /* the class defines websocket_send: no fan-out by the core */
    bool reading_paused : 1;
    bool secure : 1;   /* its peer speaks TLS to us */
    bool unmade : 1;   /* in the background: self is to be made before anything else */
    bool patient : 1;  /* in the background: leaving, it lets its handler come to an end */
    bool pinned : 1;   /* it stays with its generation */
    bool unlogged : 1; /* its request has no line in the access log */
    uint16_t close_code;
    uint16_t limits; /* the place of its route's set (net/limit_set.h) */
    uint16_t route;  /* its number (route.h) */
    uint32_t nqueued;
    uint32_t queued_bytes;
    uint32_t born;          /* s, loop's clock */
    int self;               /* registry reference; in the background first to what it is made of */
    rl_http_conn *http;     /* until answered, or accepted */
    rl_ws_conn *ws;         /* once accepted, until closed */
    rl_source *source;      /* in the background, until it leaves */
    rl_task *task;          /* the event under way, */
    const char *event;      /* and which one; static */
    struct rl_given *given; /* names that the client gave; NULL: none (names.h) */
    rl_list mailbox;
    rl_list tasks;       /* spawned, die with it */
    rl_waiters waiters;  /* for the peer to read, or to send a body */
    rl_channel *channel; /* opened when it is first joined or sent to */
    char *close_reason;  /* NULL: none */
    rl_timeout grace; /* of a handler whose peer has left; before an answer: the time for it; of an
                         event stream: until its next beat */
    rl_list stirred;  /* on the worker's list of those to pump this turn */
    rl_address peer;
};

/* A request came: the beginning of every consumer. */
void rl_consumer_open(rl_worker *w, rl_http_conn *hc);

/* self is at index; called once, before connect or handle begins. */
void rl_consumer_bind(rl_consumer *c, lua_State *L, int index);

/* Every field as "name\0value\0", for Lua to look into when a script asks. In front, under names
 * that no header can have, what else there is: ":target", and what proxies told (via may be NULL).
 */
void rl_consumer_push_fields(lua_State *L, const rl_http_head *head, const rl_forwarded *via);

/* What the layer has for it (delivery.c). */
rl_channel *rl_consumer_channel(rl_consumer *c);
/* The consumer's that has this name: the layer's prefix and an id. NULL: none; for the layer. */
rl_channel *rl_worker_channel(rl_worker *w, rl_str name);

/* Its route is known: from now on it has the limits at this place among the server's. False: it
 * was answered with 413, since its body is longer. */
bool rl_consumer_limit(rl_consumer *c, unsigned place);
static inline const rl_limits *rl_consumer_limits(const rl_consumer *c)
{
    return &c->worker->server.sets[c->limits]->of;
}

/* What a handler may say (answer.c). All but the last return 0 or a negative code with *err. */
int rl_consumer_accept(rl_consumer *c, rl_str subprotocol, rl_str headers, rl_err *err);
int rl_consumer_send(rl_consumer *c, bool text, rl_str data, rl_err *err);
int rl_consumer_respond(rl_consumer *c, int status, rl_str headers, rl_str body, rl_err *err);
int rl_consumer_start(rl_consumer *c, int status, rl_str headers, int64_t length, rl_err *err);
int rl_consumer_write(rl_consumer *c, rl_str body, bool more, rl_err *err);
void rl_consumer_close(rl_consumer *c, uint16_t code, rl_str reason);

/* Begin an answer in chunks that stays open when its handler has ended (stream.c). beat: seconds of
 * silence before a comment is sent; 0: never. */
int rl_consumer_stream(rl_consumer *c, rl_str headers, double beat, rl_err *err);

/* The peer has left more unread than it should: wait before sending more. */
bool rl_consumer_is_over(rl_consumer *c);
/* return rl_consumer_wait(…): park until something changed (true), or it is gone (nil, error). */
int rl_consumer_wait(rl_consumer *c, lua_State *L, rl_task *t);

/* It runs this generation from now on. */
void rl_consumer_run(rl_consumer *c, unsigned generation);
/* The class of its successor may want to know at once (on_reload): an event of its own. */
void rl_consumer_nudge(rl_consumer *c);

/* The coroutine that has handled a message goes on with the next of those that were read at once:
 * what else lies between two events is done. False: it has to end; the core goes on by itself. */
bool rl_consumer_next(rl_worker *w, bool *text, rl_str *data);
/* A message that only joins others which leave at the end of the turn; no Lua is met on the way.
 * False: it takes more than that, rl_consumer_send(). */
bool rl_consumer_append(rl_consumer *c, bool text, rl_str data);

/* For drain and abort. */
void rl_consumer_leave(rl_consumer *c, uint16_t code, rl_str reason);
void rl_consumer_abort(rl_consumer *c);

/* For worker.c. */
void rl_consumer_on_grace(rl_timeout *t);
void rl_consumer_on_late(rl_timeout *t);
void rl_consumer_on_beat(rl_timeout *t);
bool rl_consumer_run_stirred(rl_worker *w);

/* Between consumer.c, opening.c, delivery.c, answer.c, stream.c and background.c. */
void rl_consumer_await_beat(rl_consumer *c); /* something was sent just now */
void rl_consumer_end_stream(rl_consumer *c, uint16_t code, rl_str reason);
rl_consumer *rl_consumer_new(rl_worker *w, enum rl_consumer_kind kind);
rl_task *rl_consumer_begin(rl_consumer *c, rl_task_ended_fn *ended); /* an event, */
void rl_consumer_push_entry(rl_consumer *c, lua_State *co, enum rl_entry entry);
void rl_consumer_ended(rl_consumer *c, const rl_task *t, rl_occasion occasion);
void rl_consumer_stir(rl_consumer *c); /* have it pumped at the end of the turn */
void rl_consumer_pump(rl_consumer *c);
void rl_consumer_end(rl_consumer *c);             /* nothing is left to do */
bool rl_consumer_has_place(const rl_consumer *c); /* for another event */
void rl_consumer_enqueue(rl_consumer *c, rl_event *ev);
void rl_consumer_drop_mailbox(rl_consumer *c);
bool rl_consumer_expire(rl_consumer *c, rl_event *ev); /* has it waited too long? Then it is gone */
void rl_consumer_lost(rl_consumer *c, uint16_t code, rl_str reason); /* its peer, or its source */
extern const rl_ws_conn_events rl_consumer_ws_events;
void rl_consumer_note_close(rl_consumer *c, uint16_t code, rl_str reason); /* the first counts */
void rl_consumer_wake(rl_consumer *c);        /* all who wait: they look again */
void rl_consumer_wake_closed(rl_consumer *c); /* or hear that the connection is closed */
void rl_consumer_answered(rl_consumer *c, uint16_t code, rl_str reason);

#endif
