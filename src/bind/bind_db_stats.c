#include "bind/bind_db.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

static void set_number(lua_State *L, const char *name, double value)
{
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}

static void set_histogram(lua_State *L, const char *name, const rl_histogram *h)
{
    lua_createtable(L, 0, 3);
    set_number(L, "count", (double)h->count);
    set_number(L, "sum", (double)h->sum / 1e6);
    lua_createtable(L, RL_HISTOGRAM_BUCKETS, 0);
    for (int i = 0; i < RL_HISTOGRAM_BUCKETS; i++) {
        lua_pushnumber(L, (double)h->buckets[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "buckets");
    lua_setfield(L, -2, name);
}

/* The last bucket has none: infinity could not be said in JSON. */
static void set_bounds(lua_State *L)
{
    lua_createtable(L, RL_HISTOGRAM_BUCKETS - 1, 0);
    for (int i = 0; i < RL_HISTOGRAM_BUCKETS - 1; i++) {
        lua_pushnumber(L, (double)rl_histogram_bound(i) / 1e6);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "bounds");
}

int rl_db_push_stats(lua_State *L, const rl_db *db)
{
    static const char *const classes[RL_DB_ERRORS] = {
        "OperationalError",           "IntegrityError",    "DataError", "ProgrammingError",
        "TransactionManagementError", "NotSupportedError",
    };
    rl_db_stats s;
    rl_db_stats_of(db, &s);
    const struct {
        const char *name;
        double value;
    } counts[] = {
        {"open", s.open},
        {"idle", s.idle},
        {"busy", s.busy},
        {"leased", s.leased},
        {"connecting", s.connecting},
        {"waiting", s.waiting},
        {"shared", s.shared},
        {"opened", (double)s.opened},
        {"closed_age", (double)s.closed_age},
        {"closed_idle", (double)s.closed_idle},
        {"closed_dead", (double)s.closed_dead},
        {"timeouts", (double)s.timeouts},
        {"statements", (double)s.statements},
        {"batches", (double)s.batches},
        {"reads", (double)s.reads},
        {"coalesced", (double)s.coalesced},
        {"bulks", (double)s.bulks},
        {"borrows", (double)s.borrows},
        {"cancels", (double)s.cancels},
    };

    lua_createtable(L, 0, RL_COUNT(counts) + 6);
    for (size_t i = 0; i < RL_COUNT(counts); i++)
        set_number(L, counts[i].name, counts[i].value);
    lua_createtable(L, 0, RL_DB_ERRORS);
    for (size_t i = 0; i < RL_DB_ERRORS; i++)
        set_number(L, classes[i], (double)s.errors[i]);
    lua_setfield(L, -2, "errors");
    set_histogram(L, "wait", &s.wait);
    set_histogram(L, "run", &s.run);
    set_histogram(L, "lease", &s.lease);
    set_histogram(L, "age", &s.age);
    set_bounds(L);
    return 1;
}

/* The first line on the way out that is not the library's. */
static void find_place(lua_State *co, char *out, size_t size)
{
    lua_Debug ar;

    for (int level = 0; lua_getstack(co, level, &ar); level++) {
        lua_getinfo(co, "Sl", &ar);
        if (ar.currentline > 0 && strncmp(ar.source, "@rille/", 7) != 0) {
            snprintf(out, size, "%s:%d", ar.short_src, ar.currentline);
            return;
        }
    }
    snprintf(out, size, "the library");
}

void rl_db_tell_slow(const rl_db *db, const rl_query *q, lua_State *co)
{
    rl_query_times times;
    char place[LUA_IDSIZE + 16], others[40] = "";

    if (!rl_query_was_slow(q, &times))
        return;
    find_place(co, place, sizeof(place));
    if (times.reads > 1)
        snprintf(others, sizeof(others), " and for %u other reads", times.reads - 1);
    rl_warn(
        "database %s: a statement took %.3f s after %.3f s of waiting for a connection, at %s%s: "
        "%.*s",
        rl_db_name(db), times.took, times.waited, place, others,
        (int)(times.sql.n < 300 ? times.sql.n : 300), times.sql.p);
}
