#include "app/script.h"

#include "app/library.h"
#include "bind/bind.h"
#include "vm/watchdog.h"

static void push_program(rl_script *s, const char *name)
{
    lua_State *L = s->worker->vm.L;

    lua_rawgeti(L, LUA_REGISTRYINDEX, s->program);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}

/* Opening */

static int open_library(lua_State *L)
{
    rl_script *s = lua_touserdata(L, 1);
    const rl_settings *given = s->settings;

    rl_library_install(L);
    rl_open_core(L);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "rille.program");
    lua_call(L, 1, 1);
    lua_pushvalue(L, -1);
    s->program = luaL_ref(L, LUA_REGISTRYINDEX);

    lua_getfield(L, -1, "configure");
    lua_newtable(L);
    lua_pushstring(L, given->app);
    lua_setfield(L, -2, "app");
    lua_pushstring(L, given->database);
    lua_setfield(L, -2, "database");
    lua_pushboolean(L, given->command == RL_CMD_DEV);
    lua_setfield(L, -2, "dev");
    lua_pushboolean(L, given->migrate);
    lua_setfield(L, -2, "migrate");
    lua_call(L, 1, 0);
    return 0;
}

int rl_script_open(rl_script *s, rl_worker *w, const rl_settings *settings, rl_buf *text)
{
    rl_err err;

    *s = (rl_script){.worker = w, .settings = settings, .program = LUA_NOREF};
    /* Specs are not handlers, and run whole files in one go. */
    rl_watchdog_watch(&w->vm, settings->command == RL_CMD_TEST ? 0 : RL_HANDLER_CPU_LIMIT);
    lua_pushcfunction(w->vm.L, open_library);
    lua_pushlightuserdata(w->vm.L, s);
    return rl_vm_call(&w->vm, 1, 0, text, &err);
}

void rl_script_close(rl_script *s)
{
    rl_watchdog_watch(&s->worker->vm, 0);
    luaL_unref(s->worker->vm.L, LUA_REGISTRYINDEX, s->program);
}

/* What a script says of itself */

static char **take_strings(lua_State *L, const char *field, size_t *n)
{
    lua_getfield(L, -1, field);
    *n = lua_objlen(L, -1);
    char **list = rl_calloc(*n, sizeof(*list));
    for (size_t i = 0; i < *n; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        const char *s = lua_tostring(L, -1);
        list[i] = rl_strdup(s ? s : "");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return list;
}

/* "As much as you like" is a number, too: one that every unit and integer here can hold. */
static double limit(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
    lua_rawget(L, -2);
    double value = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return value < 1e9 ? value : 1e9;
}

static void take_limits(rl_script *s, lua_State *L)
{
    lua_getfield(L, -1, "limits");
    s->limits = (rl_server_limits){
        .max_head = (size_t)limit(L, "max_head"),
        .max_body = (size_t)limit(L, "max_body"),
        .max_message = (size_t)limit(L, "max_message"),
        .max_unsent = (size_t)limit(L, "max_unsent"),
        .max_connections = (unsigned)limit(L, "max_connections"),
        .request_timeout = limit(L, "request_timeout"),
        .keepalive_timeout = limit(L, "keepalive_timeout"),
        .ping_interval = limit(L, "ping_interval"),
        .close_timeout = limit(L, "close_timeout"),
    };
    s->manners = (rl_worker_limits){
        .mailbox = (unsigned)limit(L, "mailbox"),
        .abandon_grace = limit(L, "abandon_grace"),
    };
    double cpu = limit(L, "handler_cpu_limit");
    s->handler_cpu_limit = cpu == 0 ? RL_HANDLER_CPU_LIMIT : cpu;
    lua_pop(L, 1);
}

int rl_script_stage(rl_script *s, rl_loaded *out, rl_buf *text)
{
    lua_State *L = s->worker->vm.L;
    rl_err err;

    push_program(s, "stage");
    int rc = rl_vm_call(&s->worker->vm, 0, 1, text, &err);
    if (rc < 0)
        return rc;
    out->files = take_strings(L, "files", &out->nfiles);
    out->listen = take_strings(L, "listen", &out->nlisten);
    lua_getfield(L, -1, "workers");
    out->workers = (unsigned)lua_tointeger(L, -1);
    lua_pop(L, 1);
    take_limits(s, L);
    lua_pop(L, 1);
    return 0;
}

int rl_script_commit(rl_script *s, unsigned *generation, rl_buf *text)
{
    lua_State *L = s->worker->vm.L;
    rl_err err;

    push_program(s, "commit");
    rl_vm_enter(&s->worker->vm); /* memory is no reason */
    int rc = rl_vm_call(&s->worker->vm, 0, 1, text, &err);
    rl_vm_leave(&s->worker->vm);
    if (rc < 0)
        return rc;
    rl_worker_configure(s->worker, &s->manners);
    rl_watchdog_watch(&s->worker->vm, s->handler_cpu_limit);
    *generation = (unsigned)lua_tointeger(L, -1);
    lua_pop(L, 1);
    return 0;
}

void rl_script_discard(rl_script *s)
{
    rl_buf text = {0};
    rl_err err;

    push_program(s, "discard");
    if (rl_vm_call(&s->worker->vm, 0, 0, &text, &err) < 0)
        rl_buf_clear(&text); /* it only lets go; the next stage does so, too */
    rl_buf_fini(&text);
}

int rl_script_say(rl_script *s, const char *name, char **out, rl_buf *text)
{
    rl_err err;

    push_program(s, name);
    int rc = rl_vm_call(&s->worker->vm, 0, 1, text, &err);
    if (rc < 0)
        return rc;
    *out = rl_strdup(lua_tostring(s->worker->vm.L, -1));
    lua_pop(s->worker->vm.L, 1);
    return 0;
}

rl_task *rl_script_task(rl_script *s, const char *name, rl_task_ended_fn *ended, void *arg)
{
    rl_worker *w = s->worker;
    rl_task *t = rl_task_new(&w->vm, ended, arg);

    rl_list_push(&w->tasks, &t->owned);
    push_program(s, name);
    lua_xmove(w->vm.L, rl_task_stack(t), 1);
    return t;
}
