/* Ears: a task that takes what is said on a channel of a database, note by note (db/listen.h). For
 * who is no consumer: the layer.
 *
 * Notes wait here until they are taken. What is said beyond BYTES is dropped, and the next note
 * says how much that was; what tells of the connection itself always has its place. */
#include "bind/bind_db.h"

#include "base/list.h"
#include "db/listen.h"

#define EAR "rille.DatabaseEar"

enum { BYTES = 32 << 20 };

struct note {
    rl_list link;
    rl_note_kind kind;
    uint64_t missed; /* before it */
    size_t n;
    char payload[];
};

struct ear {
    rl_listen *listen; /* NULL: closed */
    rl_task *reader;   /* waits for a note */
    rl_list notes;
    size_t bytes;
    uint64_t missed; /* since the last one */
};

static struct note *next_note(struct ear *ear)
{
    rl_list *it = rl_list_pop(&ear->notes);
    struct note *note = it ? RL_LIST_ENTRY(it, struct note, link) : NULL;

    if (note)
        ear->bytes -= sizeof(*note) + note->n;
    return note;
}

/* kind, payload, missed or nil; the note is freed. */
static int push_note(lua_State *L, struct note *note)
{
    static const char *const names[] = {
        [RL_NOTE_SAID] = "said",
        [RL_NOTE_HEARD] = "heard",
        [RL_NOTE_GAP] = "heard",
        [RL_NOTE_LOST] = "lost",
    };

    rl_vm_enter(rl_vm_of(L)); /* what is taken must not get lost */
    lua_pushstring(L, names[note->kind]);
    lua_pushlstring(L, note->payload, note->n);
    if (note->missed)
        lua_pushnumber(L, (lua_Number)note->missed);
    else
        lua_pushnil(L);
    rl_vm_leave(rl_vm_of(L));
    rl_free(note);
    return 3;
}

static void on_note(void *arg, const rl_note *said)
{
    struct ear *ear = arg;
    size_t n = said->payload.n;
    rl_task *t = ear->reader;

    if (said->kind == RL_NOTE_SAID && ear->bytes + n > BYTES) {
        ear->missed++;
        return;
    }
    struct note *note = rl_malloc(sizeof(*note) + n);
    *note = (struct note){.kind = said->kind, .missed = ear->missed, .n = n};
    if (n)
        memcpy(note->payload, said->payload.p, n);
    ear->missed = 0;
    if (!t) {
        ear->bytes += sizeof(*note) + n;
        rl_list_init(&note->link);
        rl_list_push(&ear->notes, &note->link);
        return;
    }
    ear->reader = NULL;
    rl_task_wake(t, push_note(rl_task_stack(t), note));
}

static void close_ear(struct ear *ear)
{
    struct note *note;
    rl_task *t = ear->reader;
    rl_err err;

    rl_listen_close(ear->listen);
    ear->listen = NULL;
    while ((note = next_note(ear)))
        rl_free(note);
    ear->reader = NULL;
    if (!t)
        return;
    rl_err_set(&err, RL_ECLOSED, "the ear was closed");
    rl_task_wake_err(t, &err);
}

/* ear(handle, channel) -> ear | nil, error */
static int l_ear(lua_State *L)
{
    rl_db *db = rl_db_check_present(L, 1);
    rl_str channel = rl_check_str(L, 2);
    rl_err err;

    struct ear *ear = lua_newuserdata(L, sizeof(*ear));
    *ear = (struct ear){0};
    rl_list_init(&ear->notes);
    luaL_getmetatable(L, EAR);
    lua_setmetatable(L, -2);
    if (rl_listen_open(&ear->listen, db, channel, on_note, ear, &err) < 0)
        return rl_failure(L, &err);
    return 1;
}

static void cancel_next(void *op)
{
    ((struct ear *)op)->reader = NULL;
}

/* ear_next(ear) -> "said" | "heard" | "lost", payload, missed or nil | nil, error */
static int l_ear_next(lua_State *L)
{
    struct ear *ear = luaL_checkudata(L, 1, EAR);
    luaL_argcheck(L, !ear->reader, 1, "somebody waits for its notes already");
    rl_task *t = rl_task_current(L);
    rl_err err;

    struct note *note = next_note(ear);
    if (note)
        return push_note(L, note);
    if (!ear->listen) {
        rl_err_set(&err, RL_ECLOSED, "the ear was closed");
        return rl_failure(L, &err);
    }
    ear->reader = t;
    return rl_task_park(L, t, cancel_next, ear);
}

/* ear_close(ear): nothing more is taken. */
static int l_ear_close(lua_State *L)
{
    close_ear(luaL_checkudata(L, 1, EAR));
    return 0;
}

static const luaL_Reg functions[] = {
    {"ear", l_ear},
    {"ear_next", l_ear_next}, /* yields */
    {"ear_close", l_ear_close},
    {NULL, NULL},
};

void rl_db_open_ears(lua_State *L)
{
    luaL_newmetatable(L, EAR);
    lua_pushcfunction(L, l_ear_close);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    luaL_register(L, NULL, functions);
}
