#include "vm/vm.h"

#include "base/log.h"
#include "vm/task.h"
#include "vm/traverse.h"
#include "vm/watchdog.h"

#include <luajit.h>
#include <stdlib.h>
#include <string.h>

enum {
    SLICE_NS = 300 * 1000, /* smaller slices lengthen the mark phase, and with it the atomic
                              pause at its end */
    SLACK = 4 << 20,       /* bytes of garbage that are not worth a cycle while there is work */
    QUIET_SLACK = 1 << 18, /* or while there is none */
    QUIET_MS = 500,
    COMPILER = 4 << 20, /* bytes that it may have beyond the limit: its own make no more than half
                           that, and for what a script takes meanwhile there is another rule */
};

/* Only sets a threshold, so it may be called from the allocator. */
static void open_net(rl_vm *vm)
{
    vm->net_open = true;
    lua_gc(vm->L, LUA_GCRESTART, 0);
}

/* Whether a script may have so many bytes more. */
static bool grant(rl_vm *vm, const void *p, size_t nsize, size_t more)
{
    if (rl_need_is_owed(&vm->need, p, nsize))
        return true;
    if (rl_need_compiles(&vm->need) && vm->used + more <= vm->limit + COMPILER)
        return true;
    if (vm->used + more > vm->limit || rl_need_injects(&vm->need)) {
        vm->refused = true;
        vm->loop->counters.memory_refused++;
        rl_need_brace(&vm->need, p);
        return false;
    }
    if (vm->used + more > vm->net && !vm->net_open)
        open_net(vm);
    return true;
}

/* The allocator's user data doubles as the way from any coroutine to its vm. */
static void *allocate(void *ud, void *p, size_t osize, size_t nsize)
{
    rl_vm *vm = ud;
    /* LuaJIT gives back what it was refused, too, if a loop was being compiled. */
    size_t before = p ? rl_heap_weight(osize) : 0, after = rl_heap_weight(nsize);

    if (nsize == 0) {
        vm->used -= before;
        rl_heap_resize(&vm->heap, p, osize, 0);
        return NULL;
    }
    if (vm->scripting && !vm->exposed && after > before && !grant(vm, p, nsize, after - before))
        return NULL;
    void *q = rl_heap_resize(&vm->heap, p, osize, nsize);
    if (q)
        vm->used += after - before;
    return q;
}

static uint64_t now_ns(void)
{
    return uv_hrtime();
}

/* Collector. LuaJIT's automatic mode steps whenever the program allocates, which spreads the
 * mark phase over thousands of requests and makes every table written meanwhile be walked
 * again in one pause. So: whole slices, here, and the automatic mode only as a net.
 *
 * It also runs the script's finalizers wherever somebody allocates, and this LuaJIT passes
 * their errors on: outside of a protected call that is the end of the process. */

static void mend_net(rl_vm *vm)
{
    size_t room = vm->limit > vm->used ? vm->limit - vm->used : 0;

    /* When the heap doubles; earlier where the limit is nearer. */
    vm->net = vm->used + (vm->used < SLACK ? SLACK : vm->used);
    if (vm->net > vm->used + room / 2)
        vm->net = vm->used + room / 2;
}

void rl_vm_begin_script(rl_vm *vm)
{
    vm->scripting = true;
    __atomic_store_n(&vm->slice, vm->slice + 1, __ATOMIC_RELEASE);
}

struct draft {
    rl_buf buf;
    rl_list link;
};

rl_buf *rl_vm_draft(rl_vm *vm)
{
    struct draft *d = rl_malloc(sizeof(*d));

    d->buf = (rl_buf){0};
    rl_list_init(&d->link);
    rl_list_push(&vm->drafts, &d->link);
    return &d->buf;
}

void rl_vm_free_draft(rl_buf *draft)
{
    struct draft *d = RL_CONTAINER_OF(draft, struct draft, buf);

    rl_list_remove(&d->link);
    rl_buf_fini(&d->buf);
    rl_free(d);
}

void rl_vm_end_script(rl_vm *vm)
{
    rl_list *left;

    while ((left = rl_list_first(&vm->drafts)))
        rl_vm_free_draft(&RL_LIST_ENTRY(left, struct draft, link)->buf);
    __atomic_store_n(&vm->slice, vm->slice + 1, __ATOMIC_RELEASE);
    if (RL_UNLIKELY(__atomic_load_n(&vm->condemned, __ATOMIC_ACQUIRE)))
        rl_watchdog_absolve(vm);
    vm->scripting = false;
    vm->net_open = false;
    lua_gc(vm->L, LUA_GCSTOP, 0); /* whatever the script told it */
}

bool rl_vm_renew_slice(rl_vm *vm)
{
    __atomic_store_n(&vm->slice, vm->slice + 2, __ATOMIC_RELEASE);
    bool condemned = __atomic_load_n(&vm->condemned, __ATOMIC_ACQUIRE) != 0;
    if (RL_UNLIKELY(condemned))
        rl_watchdog_absolve(vm);
    return condemned;
}

bool rl_vm_extend_slice(rl_vm *vm)
{
    /* In this order: a stroke that comes between the two hits nobody, and not who is innocent. */
    __atomic_store_n(&vm->slice, vm->slice + 2, __ATOMIC_RELEASE);
    return RL_LIKELY(!__atomic_load_n(&vm->condemned, __ATOMIC_ACQUIRE));
}

void rl_vm_enter(rl_vm *vm)
{
    vm->exposed++;
    lua_gc(vm->L, LUA_GCSTOP, 0);
}

void rl_vm_leave(rl_vm *vm)
{
    if (--vm->exposed == 0 && vm->scripting && vm->net_open)
        lua_gc(vm->L, LUA_GCRESTART, 0);
}

int rl_vm_ref(lua_State *L)
{
    rl_vm *vm = rl_vm_of(L);

    rl_vm_enter(vm);
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);
    rl_vm_leave(vm);
    return ref;
}

/* The collector, protected. Pushes whether the cycle ended. */
static int collect(lua_State *L)
{
    rl_vm *vm = rl_vm_of(L);
    uint64_t until = now_ns() + SLICE_NS * (vm->used > 2 * vm->collect_at ? 3 : 1);
    bool done;

    do
        done = lua_gc(L, LUA_GCSTEP, 0);
    while (!done && now_ns() < until);
    lua_pushboolean(L, done);
    return 1;
}

static bool run_collector(rl_vm *vm)
{
    lua_State *L = vm->L;
    bool done = false;

    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->collector);
    rl_vm_begin_script(vm);
    int rc = lua_pcall(L, 0, 1, 0);
    rl_vm_end_script(vm);
    if (rc) {
        rl_buf text = {0};
        rl_vm_describe(L, -1, &text);
        rl_error("a finalizer failed: %s", rl_buf_cstr(&text));
        rl_buf_fini(&text);
    } else {
        done = lua_toboolean(L, -1);
    }
    lua_pop(L, 1);
    return done;
}

static bool collect_slice(rl_vm *vm)
{
    if (!vm->collecting) {
        /* What was alive when a cycle began may be garbage by its end: after a refusal there is
         * another, however much seemed to be needed. */
        if (vm->used < vm->collect_at && !vm->refused)
            return false;
        vm->collecting = true;
        vm->refused = false;
    }

    bool done = run_collector(vm);
    if (done) {
        vm->collecting = false;
        vm->live = vm->used;
        vm->collect_at = vm->used + (vm->used / 2 > SLACK ? vm->used / 2 : SLACK);
    }
    mend_net(vm);
    return !done;
}

/* Half a second after the first garbage of a busy time; in one that goes on, twice a second. */
static void on_quiet(uv_timer_t *timer)
{
    rl_vm *vm = RL_CONTAINER_OF(timer, rl_vm, quiet);

    if (vm->used > vm->live + vm->live / 4 + QUIET_SLACK)
        vm->collecting = true;
    if (vm->collecting)
        rl_loop_kick(vm->loop);
}

void rl_vm_collect_all(rl_vm *vm)
{
    while (!run_collector(vm))
        ;
}

static bool run_turn(rl_hook *hook)
{
    rl_vm *vm = RL_CONTAINER_OF(hook, rl_vm, hook);
    bool ran = rl_task_run_ready(vm);

    if (vm->used > vm->live + QUIET_SLACK && !uv_is_active((uv_handle_t *)&vm->quiet))
        uv_timer_start(&vm->quiet, on_quiet, QUIET_MS, 0);

    /* Collecting alone is no reason for the hooks to go round again, but it is one not to
     * sleep: what is left goes on next turn. */
    if (collect_slice(vm))
        rl_loop_kick(vm->loop);
    return ran;
}

/* For require(). See need.h; and what is opened once more is never given back. */
static int open_ffi(lua_State *L)
{
    static const char once[] = "rille.ffi";
    rl_vm *vm = rl_vm_of(L);

    rl_vm_enter(vm);
    lua_getfield(L, LUA_REGISTRYINDEX, once);
    if (lua_isnil(L, -1)) {
        luaopen_ffi(L);
        lua_pushvalue(L, -1);
        lua_setfield(L, LUA_REGISTRYINDEX, once);
    }
    rl_vm_leave(vm);
    return 1;
}

static int open_state(lua_State *L)
{
    if (!rl_need_init(&rl_vm_of(L)->need, L))
        return luaL_error(L, "rille knows 2.1 of 64 bits, and this is laid out differently");
    luaL_openlibs(L);
    rl_traverse_open(L);
    lua_getfield(L, LUA_REGISTRYINDEX, "_PRELOAD");
    lua_pushcfunction(L, open_ffi);
    lua_setfield(L, -2, LUA_FFILIBNAME);
    lua_pop(L, 1);
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_ON);
    if (luaL_dostring(L, "require('jit.opt').start('maxtrace=4000','maxrecord=8000',"
                         "'maxmcode=16384','sizemcode=64')"))
        return lua_error(L);
    return 0;
}

int rl_vm_init(rl_vm *vm, rl_loop *loop, const rl_vm_opts *opts, rl_err *err)
{
    *vm = (rl_vm){.loop = loop};
    vm->limit = opts->memory_limit ? opts->memory_limit : (size_t)512 << 20;
    vm->gc_stress = opts->gc_stress;
    vm->collect_at = SLACK;
    rl_heap_init(&vm->heap);
    rl_list_init(&vm->ready);
    rl_list_init(&vm->drafts);
    vm->L = lua_newstate(allocate, vm);
    if (!vm->L)
        return rl_err_set(err, -ENOMEM, "LuaJIT did not start");
    if (lua_cpcall(vm->L, open_state, NULL)) {
        rl_err_set(err, RL_ESCRIPT, "LuaJIT did not start: %s", lua_tostring(vm->L, -1));
        lua_close(vm->L);
        rl_heap_fini(&vm->heap);
        return err->code;
    }
    uv_timer_init(&loop->uv, &vm->quiet);
    lua_pushcfunction(vm->L, collect);
    vm->collector = luaL_ref(vm->L, LUA_REGISTRYINDEX);
    rl_vm_begin_script(vm);
    rl_vm_end_script(vm);
    mend_net(vm);
    rl_loop_add_hook(loop, RL_PHASE_RUN, &vm->hook, run_turn);
    return 0;
}

void rl_vm_limit(rl_vm *vm, size_t bytes)
{
    vm->limit = bytes;
    mend_net(vm);
}

void rl_vm_fini(rl_vm *vm)
{
    RL_CHECK(vm->ntasks == 0 && vm->running == NULL && !vm->watch);
    rl_loop_remove_hook(&vm->hook);
    uv_close((uv_handle_t *)&vm->quiet, NULL);
    rl_task_free_spares(vm);
    lua_close(vm->L);
    if (vm->used && vm->loop->counters.memory_refused && !vm->need.tested) {
        /* A flaw of LuaJIT's that need.h does not know, or ours. A script that asks for too much
         * must not abort the process; the specs look for this line. */
        rl_warn("lua: %zu bytes were lost when memory was refused", vm->used);
        return;
    }
    RL_CHECK(vm->used == 0);
    rl_heap_fini(&vm->heap);
}

/* A mistake in a script that rille found itself says where it is; a traceback through rille's
 * own files would only bury that. */
static bool says_where(lua_State *L)
{
    if (lua_type(L, 1) == LUA_TSTRING)
        return strstr(lua_tostring(L, 1), "\nstack traceback:") != NULL;
    if (!lua_istable(L, 1) || !lua_getmetatable(L, 1))
        return false;
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_getfield(L, -1, "rille.errors");
    if (lua_istable(L, -1))
        lua_getfield(L, -1, "ConfigurationError");
    bool configuration = lua_rawequal(L, -1, 2);
    lua_settop(L, 1);
    if (configuration) {
        lua_getfield(L, 1, "message");
        lua_replace(L, 1);
    }
    return configuration;
}

static int add_traceback(lua_State *L)
{
    rl_buf text = {0};

    lua_settop(L, 1);
    if (says_where(L))
        return 1;
    rl_vm_describe(L, 1, &text);
    luaL_traceback(L, L, rl_buf_cstr(&text), 1);
    rl_buf_fini(&text);
    return 1;
}

int rl_vm_call(rl_vm *vm, int nargs, int nresults, rl_buf *trace, rl_err *err)
{
    lua_State *L = vm->L;
    int base = lua_gettop(L) - nargs;

    lua_pushcfunction(L, add_traceback);
    lua_insert(L, base);
    rl_vm_begin_script(vm);
    int rc = lua_pcall(L, nargs, nresults, base);
    rl_vm_end_script(vm);
    lua_remove(L, base);
    if (rc == 0)
        return 0;

    rl_buf text = {0};
    rl_vm_describe(L, -1, &text);
    if (trace)
        rl_buf_add_str(trace, rl_buf_str(&text));
    char *newline = memchr(text.data, '\n', text.len);
    rl_err_set(err, RL_ESCRIPT, "%.*s", newline ? (int)(newline - text.data) : (int)text.len,
               text.data);
    rl_buf_fini(&text);
    lua_pop(L, 1);
    return RL_ESCRIPT;
}

void rl_vm_describe(lua_State *L, int index, rl_buf *out)
{
    size_t n;

    if (lua_type(L, index) == LUA_TSTRING || lua_type(L, index) == LUA_TNUMBER) {
        lua_pushvalue(L, index); /* tolstring changes numbers in place */
        const char *s = lua_tolstring(L, -1, &n);
        rl_buf_add(out, s, n);
        lua_pop(L, 1);
        return;
    }
    if (lua_type(L, index) == LUA_TTABLE && lua_getmetatable(L, index)) { /* [meta] */
        lua_pushvalue(L, index < 0 ? index - 1 : index);                  /* [meta, value] */
        lua_pushliteral(L, "__name");
        lua_rawget(L, -3);
        lua_pushliteral(L, "message");
        lua_rawget(L, -3); /* [meta, value, name, message] */
        const char *message = lua_tolstring(L, -1, &n);
        if (message) {
            if (lua_type(L, -2) == LUA_TSTRING)
                rl_buf_printf(out, "%s: ", lua_tostring(L, -2));
            rl_buf_add(out, message, n);
            lua_pop(L, 4);
            return;
        }
        lua_pop(L, 4);
    }
    rl_buf_printf(out, "(error object is a %s value)", luaL_typename(L, index));
}

void rl_vm_describe_failure(lua_State *co, rl_buf *out)
{
    lua_State *L = rl_vm_of(co)->L;
    size_t n;

    lua_xmove(co, L, 1);
    rl_vm_describe(L, -1, out);
    luaL_traceback(L, co, NULL, 0);
    const char *trace = lua_tolstring(L, -1, &n);
    rl_buf_add_c(out, '\n');
    rl_buf_add(out, trace, n);
    lua_pop(L, 1);
    lua_xmove(L, co, 1);
}

static const char *class_of(int code)
{
    switch (code) {
    case RL_ECLOSED:
        return "Closed";
    case RL_ECANCELLED:
        return "Cancelled";
    case RL_ETIMEOUT:
        return "Timeout";
    case RL_EOPERATIONAL:
        return "OperationalError";
    case RL_EMQTT:
        return "MqttError";
    case RL_EINTEGRITY:
        return "IntegrityError";
    case RL_EDATA:
        return "DataError";
    case RL_EPROGRAMMING:
        return "ProgrammingError";
    case RL_ETRANSACTION:
        return "TransactionManagementError";
    case RL_ENOTSUPPORTED:
        return "NotSupportedError";
    case RL_EREDIS:
        return "RedisError";
    case RL_EREDIS_DOWN:
    case RL_EREDIS_DOUBT:
        return "RedisUnavailable";
    case RL_ETOOBIG:
    case RL_EUTF8:
    case RL_EPROTO:
        return "BadRequest";
    default:
        return "Error";
    }
}

static void set_field(lua_State *L, const char *name, const char *value)
{
    if (!*value)
        return;
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

void rl_vm_push_err(lua_State *L, const rl_err *err)
{
    lua_newtable(L);
    set_field(L, "message", err->msg);
    set_field(L, "sqlstate", err->sqlstate);
    set_field(L, "detail", err->detail);
    set_field(L, "constraint", err->constraint);

    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_getfield(L, -1, "rille.errors"); /* [err, loaded, errors] */
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, class_of(err->code));
        lua_setmetatable(L, -4);
    }
    lua_pop(L, 2);
}

int rl_vm_push_failure(lua_State *L, const rl_err *err)
{
    lua_pushnil(L);
    rl_vm_push_err(L, err);
    return 2;
}

void rl_vm_raise(lua_State *L, const rl_err *err)
{
    rl_vm_push_err(L, err);
    lua_error(L);
    abort(); /* lua_error does not return */
}
