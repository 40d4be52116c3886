/* What a script counts of its own (core/meters.h). Names, labels and numbers were looked at by
 * lua/rille/metrics.lua. */
#include "bind/bind.h"

#include "base/exposition.h"

static rl_meters *meters_of(lua_State *L)
{
    return &rl_worker_of(L)->meters;
}

static rl_meter *check_meter(lua_State *L, rl_meters *all)
{
    lua_Integer number = luaL_checkinteger(L, 1);

    luaL_argcheck(L, number >= 0 && (size_t)number < all->n, 1, "no such metric");
    return &all->at[number];
}

static unsigned check_sample(lua_State *L, const rl_meter *m)
{
    lua_Integer number = luaL_checkinteger(L, 2);

    luaL_argcheck(L, number >= 0 && (size_t)number < m->nsamples, 2, "no such sample");
    return (unsigned)number;
}

/* declare("counter" | "gauge" | "histogram", name, help, bounds or nil) -> its number | nil, err */
static int l_declare(lua_State *L)
{
    static const char *const types[] = {[RL_METER_COUNTER] = "counter",
                                        [RL_METER_GAUGE] = "gauge",
                                        [RL_METER_HISTOGRAM] = "histogram",
                                        NULL};
    rl_meter_type type = (rl_meter_type)luaL_checkoption(L, 1, NULL, types);
    rl_str name = rl_check_str(L, 2), help = rl_check_str(L, 3);
    double bounds[RL_MAX_BOUNDS];
    unsigned nbounds = 0;
    rl_err err;

    if (!lua_isnoneornil(L, 4)) {
        luaL_checktype(L, 4, LUA_TTABLE);
        luaL_argcheck(L, lua_objlen(L, 4) <= RL_MAX_BOUNDS, 4, "too many buckets");
        nbounds = (unsigned)lua_objlen(L, 4);
    }
    for (unsigned i = 0; i < nbounds; i++) {
        lua_rawgeti(L, 4, (int)i + 1);
        bounds[i] = luaL_checknumber(L, -1);
        lua_pop(L, 1);
    }
    int number = rl_meters_declare(meters_of(L), type, name, help, bounds, nbounds, &err);
    if (number < 0)
        return rl_failure(L, &err);
    lua_pushinteger(L, number);
    return 1;
}

/* sample(meter, { name, … }, { value, … }) -> its number | nil: there are too many */
static int l_sample(lua_State *L)
{
    rl_meter *m = check_meter(L, meters_of(L));

    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_checktype(L, 3, LUA_TTABLE);
    rl_buf *labels = rl_vm_draft(rl_vm_of(L));
    for (int i = 1, n = (int)lua_objlen(L, 2); i <= n; i++) {
        lua_rawgeti(L, 2, i);
        lua_rawgeti(L, 3, i);
        rl_exposition_label(labels, luaL_checkstring(L, -2), rl_check_str(L, -1));
        lua_pop(L, 2);
    }
    int number = rl_meter_sample_of(m, rl_buf_str(labels));
    rl_vm_free_draft(labels);
    if (number < 0)
        return 0;
    lua_pushinteger(L, number);
    return 1;
}

/* add(meter, sample, n): so much more; a histogram observes it */
static int l_add(lua_State *L)
{
    rl_meter *m = check_meter(L, meters_of(L));

    rl_meter_add(m, check_sample(L, m), luaL_checknumber(L, 3));
    return 0;
}

/* set(meter, sample, n): what a gauge shows from now on */
static int l_set(lua_State *L)
{
    rl_meter *m = check_meter(L, meters_of(L));

    m->samples[check_sample(L, m)].value = luaL_checknumber(L, 3);
    return 0;
}

/* value(meter, sample) -> its value, of a histogram the sum; how often one observed */
static int l_value(lua_State *L)
{
    const rl_meter *m = check_meter(L, meters_of(L));
    const rl_meter_sample *s = &m->samples[check_sample(L, m)];
    uint64_t count = 0;

    lua_pushnumber(L, s->value);
    if (!s->counts)
        return 1;
    for (unsigned i = 0; i <= m->nbounds; i++)
        count += s->counts[i];
    lua_pushnumber(L, (double)count);
    return 2;
}

static const luaL_Reg functions[] = {
    {"declare", l_declare}, {"sample", l_sample}, {"add", l_add},
    {"set", l_set},         {"value", l_value},   {NULL, NULL},
};

int rl_open_metrics(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
