/* The connection that listens. What the server does for us (`heard`) follows what is wanted (is
 * there anybody on the channel?) one statement at a time: pump() looks for the next channel where
 * the two differ. Whatever goes wrong, the connection is given up and nothing is heard any more,
 * so that the next connection begins with the same loop.
 *
 *   RESTING --> CALLING --> HEARING --> HANGING_UP --> RESTING
 *      '--> (gone, behind the last channel)
 */
#include "db/listen.h"

#include "base/log.h"
#include "base/map.h"
#include "db/pool.h"

enum { PATIENCE = 5000 }; /* ms, for a dial or a statement */

typedef enum ear_state { RESTING, CALLING, HEARING, HANGING_UP } ear_state;

typedef struct channel {
    rl_list listens; /* rl_listen */
    bool heard;
    bool again;  /* somebody came later, and is told by the answer to another LISTEN */
    rl_str name; /* in data */
    char data[];
} channel;

struct rl_listen {
    rl_list link;
    rl_ear *ear; /* NULL: the db is closing */
    channel *channel;
    rl_note_fn *fn;
    void *arg;
    bool untold; /* that the channel is heard, once it is, */
    bool missed; /* and that something was missed */
};

struct rl_ear {
    rl_db *db;
    ear_state state;
    rl_conn *conn; /* unless RESTING */
    rl_map channels;
    channel *turning; /* a LISTEN or UNLISTEN for it is under way */
    bool turning_on;  /* which of them */
    rl_statement st;
    char sql[2 * RL_CHANNEL_NAME_MAX + 16];
    unsigned failures; /* since something was heard */
    bool telling;      /* callbacks run: keep still */
    uv_timer_t timer;  /* RESTING: to dial. Else: patience */
};

static void pump(rl_ear *ear);

/* Start with *at = 0; NULL at the end. The one just returned may be dropped. */
static channel *next_channel(const rl_ear *ear, size_t *at)
{
    rl_str name;
    void *ch;

    return rl_map_next(&ear->channels, at, &name, &ch) ? ch : NULL;
}

static bool is_wanted(const channel *ch)
{
    return !rl_list_empty(&ch->listens);
}

/* The end of it */

static void free_ear(uv_handle_t *timer)
{
    rl_free(timer->data);
}

/* RESTING, and nobody listens. */
static void close_ear(rl_ear *ear)
{
    ear->db->ear = NULL;
    rl_map_fini(&ear->channels);
    uv_close((uv_handle_t *)&ear->timer, free_ear);
    rl_loop_kick(ear->db->loop); /* a db that closes may have waited for this */
}

static void drop_unwanted(rl_ear *ear)
{
    size_t at = 0;
    channel *ch;

    while ((ch = next_channel(ear, &at)))
        if (!is_wanted(ch) && !ch->heard && ch != ear->turning) {
            rl_map_remove(&ear->channels, ch->name);
            rl_free(ch);
        }
}

static void hang_up(rl_ear *ear)
{
    size_t at = 0;
    channel *ch;

    ear->turning = NULL;
    while ((ch = next_channel(ear, &at)))
        ch->heard = ch->again = false;
    drop_unwanted(ear);
    if (ear->state != CALLING && ear->state != HEARING)
        return;
    uv_timer_stop(&ear->timer);
    ear->state = HANGING_UP;
    if (ear->conn)
        ear->db->driver->close(ear->conn);
}

/* Failing, and trying again */

static void on_timer(uv_timer_t *timer);

static void tell_lost(channel *ch, const rl_err *why)
{
    const rl_note note = {RL_NOTE_LOST, ch->name, rl_str_of(why->msg), 0};

    RL_LIST_EACH (it, &ch->listens) {
        rl_listen *l = RL_LIST_ENTRY(it, rl_listen, link);
        l->untold = l->missed = true;
        l->fn(l->arg, &note);
    }
}

/* Everything from here until it is heard again is missed by those who listen. */
static void failed(rl_ear *ear, const rl_err *why)
{
    size_t at = 0;
    channel *ch;

    if (ear->failures++ == 0)
        rl_warn("database %s: not listening: %s; trying again", ear->db->name, why->msg);
    ear->telling = true;
    while ((ch = next_channel(ear, &at)))
        tell_lost(ch, why);
    ear->telling = false;
    hang_up(ear);
}

static void rest(rl_ear *ear)
{
    ear->state = RESTING;
    ear->conn = NULL;
    if (ear->channels.len)
        uv_timer_start(&ear->timer, on_timer, rl_pool_backoff(ear->db, ear->failures), 0);
    else
        close_ear(ear);
}

/* Telling */

static void tell(channel *ch, const rl_note *note)
{
    RL_LIST_EACH (it, &ch->listens) {
        rl_listen *l = RL_LIST_ENTRY(it, rl_listen, link);
        l->fn(l->arg, note);
    }
}

static void tell_heard(channel *ch)
{
    RL_LIST_EACH (it, &ch->listens) {
        rl_listen *l = RL_LIST_ENTRY(it, rl_listen, link);
        const rl_note note = {l->missed ? RL_NOTE_GAP : RL_NOTE_HEARD, ch->name, RL_STR(""), 0};
        bool untold = l->untold;
        l->untold = l->missed = false;
        if (untold)
            l->fn(l->arg, &note);
    }
}

/* What the driver tells */

static void on_opened(void *owner)
{
    rl_ear *ear = owner;

    uv_timer_stop(&ear->timer);
    ear->state = HEARING;
    pump(ear);
}

static void on_done(void *owner, rl_result *result, const rl_err *err)
{
    rl_ear *ear = owner;
    channel *ch = ear->turning;

    rl_result_free(result);
    if (err) { /* no right to, or a server that only follows another */
        failed(ear, err);
        return;
    }
    uv_timer_stop(&ear->timer);
    ear->turning = NULL;
    ch->heard = ear->turning_on;
    ch->again = false;
    if (ch->heard) {
        if (ear->failures)
            rl_info("database %s: listening again", ear->db->name);
        ear->failures = 0;
        ear->telling = true;
        tell_heard(ch);
        ear->telling = false;
    }
    pump(ear);
}

static void on_notified(void *owner, rl_str name, rl_str payload, int pid)
{
    rl_ear *ear = owner;
    channel *ch = rl_map_get(&ear->channels, name);

    if (!ch)
        return;
    ear->telling = true;
    tell(ch, &(rl_note){RL_NOTE_SAID, name, payload, pid});
    ear->telling = false;
    pump(ear);
}

static void on_lost(void *owner, const rl_err *why, bool sent)
{
    failed(owner, why);
}

static void on_closed(void *owner)
{
    rest(owner);
}

static const rl_conn_events events = {
    .opened = on_opened,
    .done = on_done,
    .lost = on_lost,
    .closed = on_closed,
    .notified = on_notified,
};

/* Asking */

static void on_timer(uv_timer_t *timer)
{
    rl_ear *ear = timer->data;
    rl_err err = {0};

    if (ear->state != RESTING) {
        rl_err_set(&err, RL_EOPERATIONAL, "the server did not answer in time");
        failed(ear, &err);
        return;
    }
    ear->state = CALLING;
    ear->conn = ear->db->driver->dial(ear->db->conf, ear->db->loop, &events, ear, &err);
    if (ear->conn) {
        uv_timer_start(&ear->timer, on_timer, PATIENCE, 0);
        return;
    }
    failed(ear, &err);
    rest(ear);
}

/* LISTEN "name", with its quotes doubled: that is all an identifier asks for. */
static void turn(rl_ear *ear, channel *ch)
{
    static const rl_err broken = {RL_EOPERATIONAL, "", "", "", "the server closed the connection"};
    bool on = is_wanted(ch);
    rl_str verb = on ? RL_STR("LISTEN \"") : RL_STR("UNLISTEN \"");
    char *at = ear->sql;

    memcpy(at, verb.p, verb.n);
    at += verb.n;
    for (size_t i = 0; i < ch->name.n; i++) {
        if (ch->name.p[i] == '"')
            *at++ = '"';
        *at++ = ch->name.p[i];
    }
    *at++ = '"';
    *at = '\0';
    ear->st = (rl_statement){.sql = {ear->sql, (size_t)(at - ear->sql)}};
    ear->turning = ch;
    ear->turning_on = on;
    uv_timer_start(&ear->timer, on_timer, PATIENCE, 0);
    if (!ear->db->driver->run(ear->conn, &ear->st))
        failed(ear, &broken);
}

static void pump(rl_ear *ear)
{
    size_t at = 0;
    channel *ch;

    if (ear->telling)
        return;
    drop_unwanted(ear);
    if (ear->state == RESTING && !ear->channels.len)
        close_ear(ear);
    if (ear->state != HEARING || ear->turning)
        return;
    while ((ch = next_channel(ear, &at)))
        if (is_wanted(ch) != ch->heard || (ch->heard && ch->again)) {
            turn(ear, ch);
            return;
        }
    if (!ear->channels.len)
        hang_up(ear);
}

/* From above */

static rl_ear *ear_of(rl_db *db)
{
    rl_ear *ear = db->ear;

    if (ear)
        return ear;
    ear = db->ear = rl_calloc(1, sizeof(*ear));
    ear->db = db;
    uv_timer_init(&db->loop->uv, &ear->timer);
    ear->timer.data = ear;
    uv_timer_start(&ear->timer, on_timer, 0, 0);
    return ear;
}

static channel *channel_of(rl_ear *ear, rl_str name)
{
    channel *ch = rl_map_get(&ear->channels, name);

    if (ch)
        return ch;
    ch = rl_calloc(1, sizeof(*ch) + name.n);
    rl_list_init(&ch->listens);
    memcpy(ch->data, name.p, name.n);
    ch->name = (rl_str){ch->data, name.n};
    rl_map_put(&ear->channels, name, ch);
    return ch;
}

int rl_listen_open(rl_listen **out, rl_db *db, rl_str name, rl_note_fn *fn, void *arg, rl_err *err)
{
    if (!db->driver->can_listen)
        return rl_err_set(err, RL_ENOTSUPPORTED, "database %s (%s) has no LISTEN", db->name,
                          db->driver->backend);
    if (db->set.pgbouncer)
        return rl_err_set(err, RL_ENOTSUPPORTED,
                          "database %s: nothing is heard through pgbouncer; listen on a database "
                          "whose URL leads to the server itself",
                          db->name);
    if (name.n == 0 || name.n > RL_CHANNEL_NAME_MAX || memchr(name.p, '\0', name.n))
        return rl_err_set(err, RL_EPROGRAMMING,
                          "a channel's name has 1 to %d bytes, none of them 0",
                          RL_CHANNEL_NAME_MAX);
    if (db->closing)
        return rl_err_set(err, RL_EOPERATIONAL, "database %s is closing", db->name);
    rl_listen *l = rl_calloc(1, sizeof(*l));
    l->ear = ear_of(db);
    l->channel = channel_of(l->ear, name);
    l->fn = fn;
    l->arg = arg;
    l->untold = true;
    l->missed = l->ear->failures > 0;
    rl_list_init(&l->link);
    rl_list_push(&l->channel->listens, &l->link);
    l->channel->again = l->channel->heard;
    pump(l->ear);
    *out = l;
    return 0;
}

void rl_listen_close(rl_listen *l)
{
    if (!l)
        return;
    rl_list_remove(&l->link);
    if (l->ear)
        pump(l->ear);
    rl_free(l);
}

void rl_ear_move(rl_ear *ear, rl_db *to)
{
    size_t at = 0;
    channel *ch;

    while ((ch = next_channel(ear, &at)))
        RL_LIST_EACH (it, &ch->listens) {
            rl_listen *l = RL_LIST_ENTRY(it, rl_listen, link);
            l->ear = ear_of(to);
            l->channel = channel_of(l->ear, ch->name);
            l->untold = l->missed = true;
            rl_list_remove(it);
            rl_list_push(&l->channel->listens, it);
            l->channel->again = l->channel->heard;
        }
    rl_ear_close(ear);
}

void rl_ear_close(rl_ear *ear)
{
    size_t at = 0;
    channel *ch;

    if (!ear)
        return;
    while ((ch = next_channel(ear, &at)))
        RL_LIST_EACH (it, &ch->listens) {
            rl_list_remove(it);
            RL_LIST_ENTRY(it, rl_listen, link)->ear = NULL;
        }
    hang_up(ear);
    if (ear->state == RESTING)
        close_ear(ear);
}
