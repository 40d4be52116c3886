/* What every message of a WebSocket asks of us, as functions of plain C which compiled Lua calls by
 * itself (lua/rille/consumer/direct.lua). They may neither raise nor call Lua's API: what takes
 * either is declined, and left to the functions of bind_consumer.c. */
#include "bind/bind_consumer.h"

#include "proto/utf8.h"

/* A message, for Lua to make a string of. */
typedef struct lent {
    const char *p;
    int n;
} lent;

enum next { NEXT_NONE, NEXT_TEXT, NEXT_BYTES };

/* The next of the messages that were read at once: for the coroutine that has handled one. */
static int take_next(rl_worker *w, lent *out)
{
    bool text;
    rl_str data;

    if (!rl_consumer_next(w, &text, &data))
        return NEXT_NONE;
    *out = (lent){data.p, (int)data.n};
    return text ? NEXT_TEXT : NEXT_BYTES;
}

/* true: it is on its way. */
static bool append(rl_worker *w, double id, const char *p, size_t n, bool text)
{
    rl_task *t = w->vm.running;
    rl_str data = {p, n};
    rl_consumer *c;

    if (!t || !rl_task_may_wait(t) || !(c = rl_roster_find(&w->roster, id)))
        return false;
    return (!text || rl_utf8_valid(data)) && rl_consumer_append(c, text, data);
}

/* direct() -> worker, take_next, append: their addresses */
static int l_direct(lua_State *L)
{
    lua_pushlightuserdata(L, rl_worker_of(L));
    lua_pushlightuserdata(L, (void *)(uintptr_t)take_next);
    lua_pushlightuserdata(L, (void *)(uintptr_t)append);
    return 3;
}

static const luaL_Reg functions[] = {
    {"direct", l_direct},
    {NULL, NULL},
};

void rl_open_consumer_direct(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
