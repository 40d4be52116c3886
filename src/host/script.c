#include "host/script.h"

#include "host/library.h"
#include "base/log.h"
#include "bind/bind.h"
#include "vm/watchdog.h"

#include <stdio.h>

#define HANDLER_CPU_LIMIT "handler_cpu_limit"

static void push_program(rl_script *s, const char *name)
{
    lua_State *L = s->worker->vm.L;

    lua_rawgeti(L, LUA_REGISTRYINDEX, s->program);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}

/* Opening */

static int l_apply(lua_State *L);

/* Settings that are decided, whatever the script says. */
static void push_fixed(lua_State *L, const rl_settings *given)
{
    lua_createtable(L, 0, 5);
    lua_pushboolean(L, given->nlisten > 0);
    lua_setfield(L, -2, "listen");
    lua_pushboolean(L, given->workers > 0 || given->command == RL_CMD_DEV);
    lua_setfield(L, -2, "workers");
    lua_pushboolean(L, given->admin != NULL);
    lua_setfield(L, -2, "admin");
    lua_pushboolean(L, given->control != NULL);
    lua_setfield(L, -2, "control");
    lua_pushboolean(L, given->layer != NULL);
    lua_setfield(L, -2, "layer");
}

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
    lua_pushstring(L, given->layer);
    lua_setfield(L, -2, "layer");
    for (unsigned i = 0; i < given->ntrusted; i++) {
        lua_pushstring(L, i ? "," : "");
        lua_pushstring(L, given->trusted[i]);
    }
    if (given->ntrusted) {
        lua_concat(L, 2 * (int)given->ntrusted);
        lua_setfield(L, -2, "trusted");
    }
    lua_pushstring(L, given->mqtt);
    lua_setfield(L, -2, "mqtt");
    lua_pushstring(L, given->root_path);
    lua_setfield(L, -2, "root_path");
    lua_pushboolean(L, given->command == RL_CMD_DEV);
    lua_setfield(L, -2, "dev");
    lua_pushboolean(L, given->command == RL_CMD_SHELL);
    lua_setfield(L, -2, "shell");
    lua_pushstring(L, given->only_channels);
    lua_setfield(L, -2, "only_channels");
    lua_pushboolean(L, given->no_channels);
    lua_setfield(L, -2, "no_channels");
    lua_pushboolean(L, given->migrate);
    lua_setfield(L, -2, "migrate");
    push_fixed(L, given);
    lua_setfield(L, -2, "fixed");
    lua_createtable(L, (int)given->nlimits, 0);
    for (unsigned i = 0; i < given->nlimits; i++) {
        lua_pushstring(L, given->limits[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "limits");
    if (given->command == RL_CMD_TEST) {
        lua_pushlightuserdata(L, s);
        lua_pushcclosure(L, l_apply, 1);
        lua_setfield(L, -2, "apply");
    }
    lua_call(L, 1, 0);
    return 0;
}

int rl_script_open(rl_script *s, rl_worker *w, const rl_settings *settings, rl_buf *text)
{
    rl_err err;

    *s = (rl_script){.worker = w, .settings = settings, .program = LUA_NOREF};
    if (settings->command == RL_CMD_TEST)
        rl_watchdog_watch(&w->vm, RL_TEST_CPU_LIMIT, "--cpu-limit of rille test");
    else if (settings->command != RL_CMD_TOOL)
        rl_watchdog_watch(&w->vm, RL_HANDLER_CPU_LIMIT, HANDLER_CPU_LIMIT);
    lua_pushcfunction(w->vm.L, open_library);
    lua_pushlightuserdata(w->vm.L, s);
    return rl_vm_call(&w->vm, 1, 0, text, &err);
}

void rl_script_close(rl_script *s)
{
    rl_watchdog_watch(&s->worker->vm, 0, NULL);
    rl_free(s->sets);
    rl_networks_fini(&s->trusted);
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

/* A limit of the set on top, complete by lua/rille/limits.lua: what is off is 0 here. */
static double number(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
    lua_rawget(L, -2);
    double value = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return value > 0 ? value : 0;
}

static uint64_t count(lua_State *L, const char *name)
{
    return (uint64_t)number(L, name);
}

static uint64_t ms(lua_State *L, const char *name)
{
    double value = number(L, name) * 1000;

    return value > 0 && value < 1 ? 1 : (uint64_t)value;
}

static rl_limits take_set(lua_State *L)
{
    return (rl_limits){
        .max_body = count(L, "max_body"),
        .body_timeout = ms(L, "body_timeout"),
        .answer_timeout = ms(L, "answer_timeout"),
        .handshake_timeout = ms(L, "handshake_timeout"),
        .min_body_rate = count(L, "min_body_rate"),
        .max_message = count(L, "max_message"),
        .max_frame = count(L, "max_frame"),
        .ping_interval = ms(L, "ping_interval"),
        .pong_timeout = ms(L, "pong_timeout"),
        .idle_timeout = ms(L, "idle_timeout"),
        .max_connection_age = ms(L, "max_connection_age"),
        .max_control_frames = count(L, "max_control_frames"),
        .max_unsent = count(L, "max_unsent"),
        .mailbox = count(L, "mailbox"),
        .mailbox_expiry = ms(L, "mailbox_expiry"),
        .unsent_policy = count(L, "unsent_policy"),
        .mailbox_policy = count(L, "mailbox_policy"),
    };
}

static void take_common(rl_script *s, lua_State *L)
{
    s->server = (rl_server_limits){
        .max_head = count(L, "max_head"),
        .max_fields = count(L, "max_fields"),
        .max_target = count(L, "max_target"),
        .request_timeout = ms(L, "request_timeout"),
        .keepalive_timeout = ms(L, "keepalive_timeout"),
        .close_timeout = ms(L, "close_timeout"),
        .send_timeout = ms(L, "send_timeout"),
        .min_send_rate = count(L, "min_send_rate"),
        .write_high_water = count(L, "write_high_water"),
        .max_connections = (unsigned)count(L, "max_connections"),
        .max_connections_per_address = (unsigned)count(L, "max_connections_per_address"),
    };
    s->consumers = (rl_worker_limits){
        .mailbox_bytes = count(L, "mailbox_bytes"),
        .abandon_grace = ms(L, "abandon_grace"),
        .max_tasks = count(L, "max_tasks"),
    };
    s->handler_cpu_limit = number(L, HANDLER_CPU_LIMIT);
    s->memory_limit = number(L, "memory_limit");
    s->history = (rl_history_limits){
        .streams = (unsigned)count(L, "max_histories"),
        .bytes = count(L, "history_bytes"),
    };
    s->presence_bytes = count(L, "presence_bytes");
    s->patience = ms(L, "reload_timeout");
    s->publish_patience = ms(L, "publish_timeout");
}

static void take_limits(rl_script *s, lua_State *L)
{
    lua_getfield(L, -1, "limits");
    s->nsets = (unsigned)lua_objlen(L, -1);
    s->sets = rl_realloc(s->sets, s->nsets * sizeof(*s->sets));
    for (unsigned i = 0; i < s->nsets; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        s->sets[i] = take_set(L);
        if (i == 0)
            take_common(s, L);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* Each word was found good when it was read. */
static void take_trusted(rl_script *s, lua_State *L)
{
    rl_networks_fini(&s->trusted);
    lua_getfield(L, -1, "trusted");
    rl_str words = {lua_tostring(L, -1), lua_objlen(L, -1)};
    if (words.p && rl_networks_add(&s->trusted, words, NULL) < 0)
        rl_networks_fini(&s->trusted);
    lua_pop(L, 1);
}

static void apply_limits(rl_script *s)
{
    rl_worker *w = s->worker;

    rl_networks_fini(&w->server.trusted);
    w->server.trusted = s->trusted;
    s->trusted = (rl_networks){0};
    rl_worker_configure(w, &s->consumers, &s->server, s->sets, s->nsets);
    rl_history_limit(w->crew->history, &s->history); /* the process's: all say the same */
    rl_presence_limit(w->crew->presence, s->presence_bytes);
    if (s->settings->command != RL_CMD_TEST)
        rl_watchdog_watch(&w->vm, s->handler_cpu_limit, HANDLER_CPU_LIMIT);
    if (s->settings->memory_limit == 0)
        rl_vm_limit(&w->vm, (size_t)s->memory_limit);
}

/* apply{ limits =, trusted = }: of an application under test, as rl_script_commit() would. */
static int l_apply(lua_State *L)
{
    rl_script *s = lua_touserdata(L, lua_upvalueindex(1));

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    take_limits(s, L);
    take_trusted(s, L);
    apply_limits(s);
    return 0;
}

static void take_probation(rl_script *s, lua_State *L)
{
    s->probation = (rl_probation_rule){0};
    lua_getfield(L, -1, "probation");
    if (lua_istable(L, -1)) {
        s->probation.errors = number(L, "errors");
        s->probation.within = ms(L, "within");
        s->probation.at_least = count(L, "at_least");
    }
    lua_pop(L, 1);
}

static void take_hash(lua_State *L, char out[RL_HASH_SIZE])
{
    lua_getfield(L, -1, "hash");
    if (lua_isstring(L, -1))
        snprintf(out, RL_HASH_SIZE, "%s", lua_tostring(L, -1));
    lua_pop(L, 1);
}

/* Of the table on top: yours, or NULL. */
static char *take_string(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    char *text = lua_isstring(L, -1) ? rl_strdup(lua_tostring(L, -1)) : NULL;
    lua_pop(L, 1);
    return text;
}

int rl_script_stage(rl_script *s, rl_change what, rl_loaded *out, rl_buf *text)
{
    static const char *const words[] = {
        [RL_CHANGE_LOAD] = "load",
        [RL_CHANGE_ROLLBACK] = "rollback",
        [RL_CHANGE_PROMOTE] = "promote",
    };
    lua_State *L = s->worker->vm.L;
    rl_err err;

    push_program(s, "stage");
    lua_pushstring(L, words[what]);
    int rc = rl_vm_call(&s->worker->vm, 1, 1, text, &err);
    if (rc < 0)
        return rc;
    out->files = take_strings(L, "files", &out->nfiles);
    out->digests = take_strings(L, "digests", &out->nfiles);
    out->listen = take_strings(L, "listen", &out->nlisten);
    out->tls = take_strings(L, "tls", &out->ntls);
    out->admin = take_string(L, "admin");
    out->control = take_string(L, "control");
    lua_getfield(L, -1, "workers");
    out->workers = (unsigned)lua_tointeger(L, -1);
    lua_pop(L, 1);
    take_limits(s, L);
    take_trusted(s, L);
    take_probation(s, L);
    lua_pop(L, 1);
    return 0;
}

int rl_script_commit(rl_script *s, rl_loaded *out, rl_buf *text)
{
    lua_State *L = s->worker->vm.L;
    rl_err err;

    apply_limits(s); /* first: routes look where theirs are */
    push_program(s, "commit");
    rl_vm_enter(&s->worker->vm); /* memory is no reason */
    int rc = rl_vm_call(&s->worker->vm, 0, 1, text, &err);
    rl_vm_leave(&s->worker->vm);
    if (rc < 0)
        return rc;
    out->generation = (unsigned)number(L, "number");
    out->previous = (unsigned)number(L, "previous");
    take_hash(L, out->hash);
    lua_getfield(L, -1, "trial");
    out->trial = lua_toboolean(L, -1);
    lua_pop(L, 2);
    out->patience = s->patience;
    out->publish_patience = s->publish_patience;
    out->probation = s->probation;
    return 0;
}

void rl_script_trouble(rl_script *s, const char *words)
{
    rl_buf text = {0};
    rl_err err;

    push_program(s, "trouble");
    lua_pushstring(s->worker->vm.L, words);
    if (rl_vm_call(&s->worker->vm, 1, 0, &text, &err) < 0)
        rl_warn("the last failure is not shown: %s", rl_buf_cstr(&text));
    rl_buf_fini(&text);
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
