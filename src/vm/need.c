#include "vm/need.h"

#include <lauxlib.h>
#include <string.h>

/* Bytes, of a LuaJIT of 64 bits (lj_obj.h). */
enum {
    SLOT = 8,
    CLOSURE = 40,
    VARIABLE = 8, /* more, for each that it closes over */
    VARIABLES = 60,
    OWED = 48,          /* GCupval */
    KIND = 10,          /* where a function has it, and a coroutine that of no Lua function */
    ADDRESS = 47,       /* bits of it in a slot */
    GLOBAL_STATE = 768, /* as much of it as is searched; what lies behind is one block with it */
};

/* The beginning of a lua_State. */
struct state {
    char header[16];
    void **global;
    void *link;
    char *base, *top, *end, *stack;
};

static struct state *state_of(void *L)
{
    return L;
}

/* What lies beneath the variables: the function, and a link to the frame before. */
static uint64_t *function_of(const struct state *s)
{
    return (uint64_t *)(void *)(s->base - 2 * SLOT);
}

static bool is_lua_function(const void *object)
{
    return ((const char *)object)[KIND] == 0;
}

static void *address_in(uint64_t slot)
{
    return (void *)(uintptr_t)(slot & ((UINT64_C(1) << ADDRESS) - 1));
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

/* Nobody returns to a function of Lua that was refused a stack: it is replaced by the coroutine, as
 * LuaJIT has it at a stack's bottom. */
void rl_need_brace(rl_need *need, const void *p)
{
    struct state *s = state_of(need->running[0]);

    if (need->running[1])
        s->base = need->running[1];
    if (p && p == s->stack && is_lua_function(address_in(*function_of(s)))) {
        s->top = s->base;
        *function_of(s) = need->tag | (uintptr_t)s;
    }
}

static bool is_laid_out_so(rl_need *need, lua_State *L)
{
    const struct state *s = state_of(L);
    int top = lua_gettop(L);
    bool so = s->top - s->base == (ptrdiff_t)top * SLOT && s->stack < s->base && s->base <= s->end;

    lua_pushthread(L);
    uint64_t slot = ((const uint64_t *)(const void *)s->top)[-1];
    need->tag = slot & ~((UINT64_C(1) << ADDRESS) - 1);
    so = so && address_in(slot) == L && !is_lua_function(L) && luaL_loadstring(L, "") == 0 &&
         is_lua_function(lua_topointer(L, -1));
    lua_settop(L, top);
    return so;
}

/* For where LuaJIT notes who runs: it says so, whoever runs. */
struct search {
    void **at;
    bool fits[GLOBAL_STATE / sizeof(void *)];
    bool odd; /* a frame was not as expected */
};

static void compare(struct search *search, lua_State *L)
{
    for (size_t i = 0; i < RL_COUNT(search->fits); i++)
        search->fits[i] &= search->at[i] == L;
}

static int compare_in_coroutine(lua_State *co)
{
    struct search *search = lua_touserdata(co, 1);
    const void *function = address_in(*function_of(state_of(co)));

    compare(search, co);
    search->odd |= function != lua_topointer(co, 2) || is_lua_function(function);
    return 0;
}

/* For where it notes what is under way: one thing in a function of C, another while it interprets,
 * which asks for tables, and another while it collects, which gives them back. */
struct watch {
    lua_Alloc allocate;
    void *ud;
    const int *at;
    bool fits[GLOBAL_STATE / sizeof(int)];
    int taking, giving; /* what is noted then; 0: it does not matter now */
};

enum { INTERPRETS = -1, IN_C = -2, COLLECTS = -3 };

static void compare_state(struct watch *watch, int noted)
{
    for (size_t i = 0; noted && i < RL_COUNT(watch->fits); i++)
        watch->fits[i] &= watch->at[i] == noted;
}

static void *allocate_watched(void *ud, void *p, size_t osize, size_t nsize)
{
    struct watch *watch = ud;

    compare_state(watch, nsize ? watch->taking : watch->giving);
    return watch->allocate(watch->ud, p, osize, nsize);
}

static const int *find_state(lua_State *L)
{
    struct watch watch = {.at = (const void *)state_of(L)->global};
    const int *found = NULL;

    memset(watch.fits, true, sizeof(watch.fits));
    if (luaL_loadstring(L, "for i = 1, 5 do local t = {} end") != 0)
        return NULL;
    watch.allocate = lua_getallocf(L, &watch.ud);
    lua_setallocf(L, allocate_watched, &watch);
    compare_state(&watch, IN_C);
    watch.taking = INTERPRETS;
    int rc = lua_pcall(L, 0, 0, 0);
    watch.taking = 0;
    watch.giving = COLLECTS;
    lua_gc(L, LUA_GCCOLLECT, 0);
    lua_setallocf(L, watch.allocate, watch.ud);
    for (size_t i = 0; i < RL_COUNT(watch.fits); i++) {
        if (watch.fits[i] && found)
            return NULL;
        if (watch.fits[i])
            found = &watch.at[i];
    }
    return rc == 0 ? found : NULL;
}

bool rl_need_init(rl_need *need, lua_State *L)
{
    struct search search = {0};

    if (sizeof(void *) != 8 || !is_laid_out_so(need, L) || !(need->state = find_state(L)))
        return false;
    search.at = state_of(L)->global;
    memset(search.fits, true, sizeof(search.fits));
    compare(&search, L);
    lua_State *some[] = {lua_newthread(L), lua_newthread(L), lua_newthread(L)};
    for (size_t i = 0; i < RL_COUNT(some); i++) {
        lua_pushcfunction(some[i], compare_in_coroutine);
        lua_pushlightuserdata(some[i], &search);
        lua_pushvalue(some[i], 1);
        if (lua_resume(some[i], 2) != 0 || search.odd)
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
