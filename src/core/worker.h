/* worker.h - one thread's whole world: loop, Lua state, connections, layer, databases.
 *
 * Nothing is shared between workers. The main thread speaks to one through
 * rl_loop_post(&worker->loop), and hears back through the callbacks it gave. */
#ifndef RL_CORE_WORKER_H
#define RL_CORE_WORKER_H

#include "core/crew.h"
#include "core/generation.h"
#include "core/meters.h"
#include "core/outside.h"
#include "core/retired.h"
#include "core/roster.h"
#include "core/route.h"
#include "db/db.h"
#include "io/conn.h"
#include "io/listener.h"
#include "layer/kept.h"
#include "layer/layer.h"
#include "mqtt/broker.h"
#include "net/server.h"
#include "vm/task.h"
#include "vm/vm.h"

#define RL_MAX_DATABASES 16
#define RL_MAX_BROKERS   4 /* one, and those that a reload has replaced */
#define RL_MAX_LISTENERS RL_MAX_SOCKETS
#define RL_CLOSE_CODES   18

/* The functions of lua/rille/dispatch.lua that events begin in. */
enum rl_entry {
    RL_ENTRY_OPEN,    /* (id, kind, method, path, fields) */
    RL_ENTRY_RECEIVE, /* (self, text, bytes) */
    RL_ENTRY_MESSAGE, /* (self, encoded message, and its place in a history: group, epoch, offset)
                       */
    RL_ENTRY_EVENT,   /* (self, event), in the background */
    RL_ENTRY_DISCONNECT, /* (self, code, reason) */
    RL_ENTRY_ADOPT,      /* (entry, its arguments…) after a change of the code */
    RL_ENTRY_BACKGROUND, /* (id, origin): a consumer without a peer begins */
    RL_ENTRY_LEAVE,      /* (self, its groups): a consumer moves out; all there is of it, as text */
    RL_ENTRY_ARRIVE,     /* (id, that text): and in, elsewhere */
    RL_ENTRY_PAGE,       /* (text, whether it may be asked for again) -> HTML; while show_errors */
    RL_ENTRY_COUNT,
};

/* Limits of consumers that no route has for itself; see lua/rille/limits.lua. Times in ms. */
typedef struct rl_worker_limits {
    uint64_t mailbox_bytes;
    uint64_t abandon_grace;
    uint64_t max_tasks; /* of one consumer */
} rl_worker_limits;

/* How WebSockets are parted with. */
typedef struct rl_farewell {
    uint16_t code;   /* 1001: going away; 1012: about to come back */
    uint64_t spread; /* ms over which they are closed, evenly, so that not all come back at once */
} rl_farewell;

struct rl_worker {
    rl_crew *crew;
    unsigned index;            /* in the crew, from 0 */
    _Atomic unsigned arriving; /* connections that others have handed over, not yet taken up */
    rl_loop loop;
    rl_vm vm;
    rl_conns conns;
    rl_server server;
    rl_layer layer;
    rl_outside outside;
    rl_worker_limits limits;
    uint16_t
        *places; /* of the sets of limits that were configured last, among the server's: held */
    unsigned nplaces;

    rl_db *dbs[RL_MAX_DATABASES]; /* NULL: closed again */
    unsigned ndbs;
    unsigned dbs_closing;               /* that left the list, and are not gone yet */
    rl_retired retired;                 /* that others have replaced in it */
    rl_broker *brokers[RL_MAX_BROKERS]; /* NULL: closed again */
    rl_broker_stats past_brokers;       /* what those had done */
    rl_listener *listeners[RL_MAX_LISTENERS];
    unsigned nlisteners;

    rl_slab memory;   /* of consumers */
    rl_roster roster; /* every consumer */
    rl_list stirred;  /* consumers with something to do at the end of the turn */
    rl_hook hook;
    rl_list tasks;     /* spawned by nobody's consumer; cancelled when the worker stops */
    rl_list services;  /* of the library: they serve until on_stop has returned */
    rl_list named;     /* background channels that are open here (channels.h) */
    rl_list witnesses; /* tests that want to know why a consumer failed (witness.h) */
    rl_timeouts graces;
    rl_timeouts sweeps; /* of histories, while some group may have one */
    rl_timeout sweep;
    rl_timeouts beats[8]; /* of event streams, by interval */
    unsigned nbeats;
    uint64_t dropped;         /* events of sources, for want of room */
    uint64_t inboxes;         /* opened so far (inbox.h) */
    uint64_t untold, told_at; /* drops that the log has not told of; ms on the loop's clock */

    rl_routes routes;        /* what is counted of each */
    rl_meters meters;        /* what the script counts */
    uint64_t seeds[4];       /* random: names of requests and traces are made of them */
    const rl_consumer *told; /* whom the log tells about (names.h) */
    uint64_t close_codes[RL_CLOSE_CODES]; /* of WebSockets: 1000 to 1015, 3000s, 4000s */

    int entries[RL_ENTRY_COUNT]; /* registry references */
    rl_generations generations;  /* of the code */
    bool draining;
    rl_farewell farewell; /* while it drains */
    uint64_t drained_from;
    uint32_t drained_to; /* in the roster */
    unsigned to_drain, drained;
    bool show_errors; /* to the peer, in full: development only */

    /* The script uses this file, from now on or again, and has it open at fd, or is about to read
     * it (-1). NULL: nobody wants to know. */
    void (*uses)(rl_worker *w, const char *path, int fd);
};

/* Its limits are those of a worker that nobody is connected to. */
int rl_worker_init(rl_worker *w, rl_crew *crew, unsigned index, const rl_vm_opts *vm,
                   rl_err *err) RL_MUST_USE;
/* The limits of what is about to serve; sets[0] is everybody's, the others are routes'. */
void rl_worker_configure(rl_worker *w, const rl_worker_limits *limits,
                         const rl_server_limits *server, const rl_limits *sets, unsigned n);
/* The generation that these limits are of serves, and holds them for as long as anybody runs it. */
void rl_worker_change(rl_worker *w, unsigned serving, unsigned before);
/* Which groups keep their history (kept.h); takes the rules. */
void rl_worker_keep(rl_worker *w, rl_rule *rules, unsigned n);
void rl_worker_fini(rl_worker *w); /* drained, databases closed */

static inline rl_worker *rl_worker_of(lua_State *L)
{
    return RL_CONTAINER_OF(rl_vm_of(L), rl_worker, vm);
}

/* Accept from a socket (taken also on failure). */
int rl_worker_listen(rl_worker *w, const rl_bound *b, rl_err *err) RL_MUST_USE;

/* Stop accepting and listening, let HTTP finish its answers, close every WebSocket in its time, run
 * every disconnect. Call rl_worker_drain_on() until rl_worker_is_idle(). */
void rl_worker_drain(rl_worker *w, const rl_farewell *farewell);
void rl_worker_drain_on(rl_worker *w);
rl_str rl_worker_farewell(const rl_worker *w); /* the close frame's reason */
bool rl_worker_is_idle(const rl_worker *w);    /* but for its services; nothing is being closed */

/* Cancel what nobody's consumer spawned; the end of a drain. */
void rl_worker_cancel_tasks(rl_worker *w);
void rl_worker_cancel_services(rl_worker *w); /* the end of all */

/* The end of patience: cancel every handler and drop every connection. */
void rl_worker_abort(rl_worker *w);

/* Will the next boundary find something to do? */
static inline bool rl_worker_is_due(const rl_worker *w)
{
    for (unsigned i = 0; i < w->ndbs; i++)
        if (w->dbs[i] && rl_db_is_due(w->dbs[i]))
            return true;
    return false;
}

/* The database boundary (contract section 5, point 3): before an event, and after the last. */
static inline void rl_worker_boundary(rl_worker *w)
{
    for (unsigned i = 0; i < w->ndbs; i++)
        if (w->dbs[i])
            rl_db_close_old(w->dbs[i]);
}

#endif
