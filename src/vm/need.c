#include "vm/need.h"

#include <string.h>

/* Bytes, of a LuaJIT of 64 bits (lj_obj.h). */
enum {
    SLOT = 8,
    CLOSURE = 40,
    VARIABLE = 8, /* more, for each that it closes over */
    VARIABLES = 60,
    OWED = 48,          /* GCupval */
    GLOBAL_STATE = 768, /* as much of it as is searched; what lies behind is one block with it */
};

/* The beginning of a lua_State. */
struct state {
    char header[16];
    void **global;
    void *link;
    char *base, *top;
};

static struct state *state_of(void *L)
{
    return L;
}

/* A closure over one variable is of a variable's own size, and may have taken what was owed to
 * another. If it is refused its variable, it is given back 8 bytes short, which makes no difference
 * to heap.h: 40 and 48 are one size there. */
bool rl_need_is_owed(rl_need *need, const void *p, size_t size)
{
    if (!p && size == OWED && need->owed) {
        need->owed--;
        return true;
    }
    bool closure =
        !p && size > CLOSURE && size <= CLOSURE + VARIABLES * VARIABLE && size % VARIABLE == 0;
    need->owed = closure ? (uint32_t)(size - CLOSURE) / VARIABLE : 0;
    return false;
}

void rl_need_brace(rl_need *need)
{
    if (need->running[1])
        state_of(need->running[0])->base = need->running[1];
}

static bool is_laid_out_so(lua_State *L)
{
    const struct state *s = state_of(L);

    return s->top - s->base == (ptrdiff_t)lua_gettop(L) * SLOT;
}

/* For where LuaJIT notes who runs: it says so, whoever runs. */
struct search {
    void **at;
    bool fits[GLOBAL_STATE / sizeof(void *)];
};

static void compare(struct search *search, lua_State *L)
{
    for (size_t i = 0; i < RL_COUNT(search->fits); i++)
        search->fits[i] &= search->at[i] == L;
}

static int compare_in_coroutine(lua_State *co)
{
    compare(lua_touserdata(co, 1), co);
    return 0;
}

bool rl_need_init(rl_need *need, lua_State *L)
{
    struct search search;

    if (sizeof(void *) != 8 || !is_laid_out_so(L))
        return false;
    search.at = state_of(L)->global;
    memset(search.fits, true, sizeof(search.fits));
    compare(&search, L);
    lua_State *some[] = {lua_newthread(L), lua_newthread(L), lua_newthread(L)};
    for (size_t i = 0; i < RL_COUNT(some); i++) {
        lua_pushcfunction(some[i], compare_in_coroutine);
        lua_pushlightuserdata(some[i], &search);
        if (lua_resume(some[i], 1) != 0)
            return false;
    }
    lua_pop(L, (int)RL_COUNT(some));
    for (size_t i = 0; i < RL_COUNT(search.fits); i++) {
        if (search.fits[i] && need->running)
            return false;
        if (search.fits[i])
            need->running = &search.at[i];
    }
    return need->running && !need->running[1];
}
