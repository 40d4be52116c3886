/* The other end of connections, for tests.
 *
 * A peer is the client's end of a connection, as bytes: of a pair of sockets whose other end the
 * server was given as if it had been accepted, or of one to an address. What is spoken on it is
 * lua/rille/testing's business. The connection may end before the userdata, or after it: the memory
 * goes with the second of the two. */
#include "bind/bind.h"

#include "base/log.h"
#include "core/witness.h"
#include "io/client.h"

#include <errno.h>
#include <string.h>

#define PEER "rille.TestPeer"

enum { PATIENCE = 5000 }; /* ms, to connect */

struct peer {
    rl_client *client; /* NULL: it is over */
    rl_task *dialler;  /* waits until it is open */
    bool held;         /* by a userdata */
    rl_buf in;         /* came, and was not taken */
    rl_waiters waiters;
    rl_err why; /* it is over */
    rl_witness witness;
    rl_vm *vm;
    int error;      /* registry reference to what its consumer raised; LUA_NOREF: nothing */
    rl_buf failure; /* the same in words, with the traceback */
};

static void free_peer(struct peer *p)
{
    rl_buf_fini(&p->in);
    rl_buf_fini(&p->failure);
    rl_free(p);
}

/* From the connection */

static void on_open(void *owner)
{
    struct peer *p = owner;
    rl_task *t = p->dialler;

    p->dialler = NULL;
    if (!t)
        return;
    lua_pushboolean(rl_task_stack(t), true);
    rl_task_wake(t, 1);
}

static void on_data(void *owner, const char *bytes, size_t n)
{
    struct peer *p = owner;

    rl_buf_add(&p->in, bytes, n);
    rl_waiters_wake(&p->waiters, NULL);
}

static void on_closed(void *owner, const rl_err *why)
{
    struct peer *p = owner;
    rl_task *t = p->dialler;

    p->client = NULL;
    p->dialler = NULL;
    rl_err_set(&p->why, RL_ECLOSED, "%s", why ? why->msg : "the connection is closed");
    if (t)
        rl_task_wake_err(t, &p->why);
    rl_waiters_wake(&p->waiters, NULL);
    if (!p->held)
        free_peer(p);
}

static const rl_client_events client_events = {
    .on_open = on_open, .on_data = on_data, .on_closed = on_closed};

/* A first failure counts: what follows comes of it, and is for the log. */
static void hear(rl_witness *witness, lua_State *co, rl_str text)
{
    struct peer *p = RL_CONTAINER_OF(witness, struct peer, witness);
    lua_State *L = p->vm->L;

    if (p->failure.len) {
        rl_error("%.*s", (int)text.n, text.p);
        return;
    }
    rl_buf_add_str(&p->failure, text);
    if (co) {
        rl_vm_enter(p->vm);
        lua_xmove(co, L, 1);
        lua_pushvalue(L, -1);
        p->error = luaL_ref(L, LUA_REGISTRYINDEX);
        lua_xmove(L, co, 1);
        rl_vm_leave(p->vm);
    }
    rl_waiters_wake(&p->waiters, NULL);
}

/* Making one */

static struct peer *push_peer(lua_State *L)
{
    rl_worker *w = rl_worker_of(L);
    struct peer **slot = lua_newuserdata(L, sizeof(*slot));
    struct peer *p = rl_calloc(1, sizeof(*p));

    p->vm = &w->vm;
    p->error = LUA_NOREF;
    p->held = true;
    p->witness.hear = hear;
    rl_waiters_init(&p->waiters);
    rl_witness_enter(w, &p->witness);
    *slot = p;
    luaL_getmetatable(L, PEER);
    lua_setmetatable(L, -2);
    return p;
}

static struct peer *check_peer(lua_State *L, int arg)
{
    return *(struct peer **)luaL_checkudata(L, arg, PEER);
}

/* Whoever connects from this machine. */
static rl_proxy local_peer(void)
{
    static _Thread_local uint16_t port = 49151;
    const uint8_t loopback[] = {127, 0, 0, 1};

    port = port == 65535 ? 49152 : port + 1;
    return (rl_proxy){.source = rl_address_of_ipv4(loopback, port),
                      .destination = rl_address_of_ipv4(loopback, 80)};
}

/* pair() -> peer | nil, error: the other end is a connection of the server's */
static int l_pair(lua_State *L)
{
    rl_worker *w = rl_worker_of(L);
    rl_proxy who = local_peer();
    rl_err err;
    int fds[2];
    struct peer *p = push_peer(L);

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0) {
        rl_err_set(&err, -errno, "no pair of sockets: %s", strerror(errno));
        return rl_failure(L, &err);
    }
    p->client = rl_client_adopt(&w->loop, fds[0], &client_events, p);
    p->witness.stream = rl_server_admit(&w->server, fds[1], NULL, &who);
    if (p->client && p->witness.stream)
        return 1;
    if (p->client)
        rl_client_close(p->client);
    rl_err_set(&err, RL_ECLOSED, "the connection was refused");
    return rl_failure(L, &err);
}

/* watch(id) -> peer: no connection, only a witness of that consumer */
static int l_watch(lua_State *L)
{
    double id = luaL_checknumber(L, 1);
    struct peer *p = push_peer(L);

    p->witness.consumer = id;
    rl_err_set(&p->why, RL_ECLOSED, "there is no connection");
    return 1;
}

static void give_up_dialling(void *op)
{
    struct peer *p = op;

    p->dialler = NULL;
    rl_client_close(p->client);
}

/* dial(host, port) -> peer: not open yet, see opened() */
static int l_dial(lua_State *L)
{
    const char *host = luaL_checkstring(L, 1);
    lua_Integer port = luaL_checkinteger(L, 2);
    luaL_argcheck(L, port > 0 && port < 65536, 2, "a port expected");
    struct peer *p = push_peer(L);

    p->client = rl_client_open(
        &rl_worker_of(L)->loop,
        &(rl_client_opts){.where = {.host = host, .port = (uint16_t)port}, .patience = PATIENCE},
        &client_events, p);
    return 1;
}

/* opened(peer) -> true | nil, error: waits until it is, once, right after dial */
static int l_opened(lua_State *L)
{
    struct peer *p = check_peer(L, 1);
    rl_task *t = rl_task_current(L);

    if (!p->client)
        return rl_failure(L, &p->why);
    p->dialler = t;
    return rl_task_park(L, t, give_up_dialling, p);
}

/* Using it */

/* write(peer, bytes) -> true | nil, error */
static int l_write(lua_State *L)
{
    struct peer *p = check_peer(L, 1);
    rl_str bytes = rl_check_str(L, 2);

    if (!p->client)
        return rl_failure(L, &p->why);
    rl_client_write(p->client, bytes.p, bytes.n, RL_PHASE_ASK);
    lua_pushboolean(L, true);
    return 1;
}

/* take(peer) -> bytes, perhaps none; and why nothing follows, once that is so */
static int l_take(lua_State *L)
{
    struct peer *p = check_peer(L, 1);

    lua_pushlstring(L, rl_buf_str(&p->in).p, p->in.len);
    rl_buf_clear(&p->in);
    if (p->client)
        return 1;
    lua_pushstring(L, p->why.msg);
    return 2;
}

/* wait(peer) -> true: until something has changed */
static int l_wait(lua_State *L)
{
    struct peer *p = check_peer(L, 1);
    rl_task *t = rl_task_current(L);

    return rl_waiters_park(&p->waiters, L, t);
}

/* failure(peer) -> what its consumer raised, and the same in words with the traceback; forgotten
 * then | nothing: it has not failed */
static int l_failure(lua_State *L)
{
    struct peer *p = check_peer(L, 1);

    if (!p->failure.len)
        return 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->error);
    lua_pushlstring(L, rl_buf_str(&p->failure).p, p->failure.len);
    luaL_unref(L, LUA_REGISTRYINDEX, p->error);
    p->error = LUA_NOREF;
    rl_buf_clear(&p->failure);
    return 2;
}

/* failed(peer) -> is there something for failure()? */
static int l_failed(lua_State *L)
{
    lua_pushboolean(L, check_peer(L, 1)->failure.len > 0);
    return 1;
}

/* consumer(peer) -> the number of the one that its last request began | nil: there is none now */
static int l_consumer(lua_State *L)
{
    struct peer *p = check_peer(L, 1);

    if (!rl_roster_find(&rl_worker_of(L)->roster, p->witness.consumer))
        return 0;
    lua_pushnumber(L, p->witness.consumer);
    return 1;
}

/* close(peer): without a word */
static int l_close(lua_State *L)
{
    struct peer *p = check_peer(L, 1);

    if (p->client)
        rl_client_close(p->client);
    return 0;
}

/* reset(peer): likewise, so that the server hears of it at once, as of a client that was killed
 * with something unread: a FIN alone may be that of one who still reads */
static int l_reset(lua_State *L)
{
    struct peer *p = check_peer(L, 1);
    rl_consumer *c = rl_roster_find(&rl_worker_of(L)->roster, p->witness.consumer);

    if (c && c->http)
        rl_conn_reset(rl_http_conn_stream(c->http), ECONNRESET);
    return l_close(L);
}

static int l_gc(lua_State *L)
{
    struct peer *p = check_peer(L, 1);

    luaL_unref(L, LUA_REGISTRYINDEX, p->error);
    rl_witness_leave(&p->witness); /* nobody would learn of it any more */
    p->held = false;
    if (p->client)
        rl_client_close(p->client);
    else
        free_peer(p);
    return 0;
}

/* clang-format off */
static const luaL_Reg functions[] = {
    {"pair", l_pair},
    {"watch", l_watch},
    {"dial", l_dial},
    {"opened", l_opened}, /* yields */
    {"write", l_write},
    {"take", l_take},
    {"wait", l_wait}, /* yields */
    {"failure", l_failure},
    {"failed", l_failed},
    {"consumer", l_consumer},
    {"close", l_close},
    {"reset", l_reset},
    {NULL, NULL},
};
/* clang-format on */

void rl_open_test_peers(lua_State *L)
{
    luaL_newmetatable(L, PEER);
    lua_pushcfunction(L, l_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    luaL_register(L, NULL, functions);
}
