/* watchdog.c - see the header.
 *
 *   watched --over its limit--> condemned --its slice ended--> watched
 *
 * Everything here is under one lock, but for the signal handler, which runs on the condemned vm's
 * own thread and looks only at what that thread may: its vm, and whether the slice that was
 * condemned is still the present one. The profiler's functions are called under the lock, since
 * its state is the process's; never on a vm that another thread may be running, with one
 * exception that LuaJIT is fine with: making it the owner touches nothing of it. */
#include "vm/watchdog.h"

#include "base/log.h"

#include <luajit.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

enum {
    TICK_MS = 20,        /* at most a fiftieth of a second of a slice goes unseen */
    TIDY_UP = 20000,     /* instructions after the first error */
    AGAIN_NS = 10000000, /* CPU time between two signals */
    DEAF_TIMES = 5,      /* limits, until the log says that nothing helps */
};

/* Interval of the profiler's timer in ms; it is disarmed at once all the same. */
static const char OWNER[] = "i2147483647";

struct rl_watch {
    rl_list link;
    rl_vm *vm;
    pthread_t thread;
    clockid_t clock;
    const char *setting;
    int64_t limit;     /* ns */
    uint32_t seen;     /* the slice at the last look */
    int64_t began;     /* CPU time of the thread when it was first seen */
    int64_t struck;    /* and when it was last told to stop; 0: not yet */
    uint32_t unwanted; /* a slice that is to end whatever it took; 0: none */
    bool told_deaf;
    volatile sig_atomic_t strokes; /* for the handler and the hook: how often */
    struct {
        lua_Hook fn;
        int mask, count;
    } theirs; /* the script's own hook, at the first stroke */
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    rl_list watches;
    lua_State *owner;            /* of the profiler, when nobody is condemned */
    rl_vm *condemned;            /* the profiler is its */
    void (*trigger)(int signum); /* the profiler's own handler of SIGPROF */
    bool running, failed;
} dog = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

/* The vm that this thread runs. */
static _Thread_local rl_vm *here;

static void on_profile(void *data, lua_State *L, int samples, int vmstate)
{
}

/* Under the lock. */
static void give_profiler(lua_State *from, lua_State *to)
{
    static const struct itimerval never;

    if (from)
        luaJIT_profile_stop(from);
    luaJIT_profile_start(to, OWNER, on_profile, NULL);
    setitimer(ITIMER_PROF, &never, NULL);
}

/* On the vm's thread: have its traces look at the flag, or no longer. */
static void prepare_traces(rl_vm *vm, bool watched)
{
    if (watched) {
        luaJIT_profile_start(vm->L, "l", on_profile, NULL); /* sets the mode, and finds it taken */
        return;
    }
    give_profiler(dog.owner, vm->L); /* only an owner's stop takes the mode back */
    give_profiler(vm->L, dog.owner);
}

/* Interrupting: on the condemned vm's thread */

static void on_hook(lua_State *L, lua_Debug *ar)
{
    rl_vm *vm = rl_vm_of(L);
    struct rl_watch *w = vm->watch;

    if (!w || !__atomic_load_n(&vm->condemned, __ATOMIC_ACQUIRE))
        return;
    bool unwanted = __atomic_load_n(&w->unwanted, __ATOMIC_RELAXED) == vm->slice;
    if (w->strokes == 1) {
        w->strokes = 2;
        vm->loop->counters.handlers_interrupted += !unwanted;
        lua_sethook(L, on_hook, LUA_MASKCOUNT, TIDY_UP);
    } else {
        lua_sethook(L, on_hook, LUA_MASKCOUNT, 1);
    }
    luaL_where(L, 0);
    if (unwanted)
        lua_pushfstring(L, "%sinterrupted", lua_tostring(L, -1));
    else
        lua_pushfstring(L,
                        "%sinterrupted: it took %f s of CPU time without waiting for anything (%s)",
                        lua_tostring(L, -1), (double)w->limit / 1e9, w->setting);
    lua_error(L);
}

static void on_signal(int signum)
{
    rl_vm *vm = here;

    if (!vm || !vm->watch || __atomic_load_n(&vm->condemned, __ATOMIC_ACQUIRE) != vm->slice)
        return; /* it comes too late */
    struct rl_watch *w = vm->watch;
    if (w->strokes == 0) {
        w->strokes = 1;
        w->theirs.fn = lua_gethook(vm->L);
        w->theirs.mask = lua_gethookmask(vm->L);
        w->theirs.count = lua_gethookcount(vm->L);
    }
    lua_sethook(vm->L, on_hook, LUA_MASKCOUNT, 1);
    dog.trigger(SIGPROF);
}

void rl_watchdog_absolve(rl_vm *vm)
{
    struct rl_watch *w = vm->watch;

    pthread_mutex_lock(&dog.lock);
    __atomic_store_n(&vm->condemned, 0, __ATOMIC_RELEASE);
    if (w->strokes)
        lua_sethook(vm->L, w->theirs.fn, w->theirs.mask, w->theirs.count);
    w->strokes = 0;
    w->struck = 0;
    w->told_deaf = false;
    if (dog.condemned == vm) {
        dog.condemned = NULL;
        give_profiler(vm->L, dog.owner);
        prepare_traces(vm, true);
    }
    pthread_mutex_unlock(&dog.lock);
}

/* Watching: on the watchdog's thread */

static int64_t cpu_time(const struct rl_watch *w)
{
    struct timespec t;

    if (clock_gettime(w->clock, &t) < 0)
        return 0;
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void strike(struct rl_watch *w, uint32_t slice, int64_t now)
{
    if (dog.condemned && dog.condemned != w->vm)
        return; /* one at a time: at the next tick */
    if (w->struck && now - w->struck < AGAIN_NS)
        return;
    if (!dog.condemned) {
        dog.condemned = w->vm;
        give_profiler(dog.owner, w->vm->L);
    }
    /* Also one that was: the slice it was condemned for may have ended before it could see that. */
    __atomic_store_n(&w->vm->condemned, slice, __ATOMIC_RELEASE);
    w->struck = now;
    pthread_kill(w->thread, SIGUSR2);
}

static void look_at(struct rl_watch *w)
{
    uint32_t slice = __atomic_load_n(&w->vm->slice, __ATOMIC_ACQUIRE);

    if (!(slice & 1) || slice != w->seen) {
        w->seen = slice;
        w->began = slice & 1 ? cpu_time(w) : 0;
        return;
    }
    int64_t now = cpu_time(w), took = now - w->began;
    if (took < w->limit && w->unwanted != slice)
        return;
    strike(w, slice, now);
    if (took / DEAF_TIMES > w->limit && !w->told_deaf) {
        w->told_deaf = true;
        rl_error("a script has taken %.1f s of CPU time in one go and cannot be interrupted: a "
                 "function of C, or a finalizer, does not return",
                 (double)took / 1e9);
    }
}

static void *watch_all(void *arg)
{
    struct timespec until;

    pthread_mutex_lock(&dog.lock);
    while (dog.running) {
        RL_LIST_EACH (it, &dog.watches)
            look_at(RL_LIST_ENTRY(it, struct rl_watch, link));
        if (rl_list_empty(&dog.watches)) {
            pthread_cond_wait(&dog.wake, &dog.lock);
            continue;
        }
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += TICK_MS * 1000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        pthread_cond_timedwait(&dog.wake, &dog.lock, &until);
    }
    pthread_mutex_unlock(&dog.lock);
    return NULL;
}

void rl_watchdog_interrupt(rl_vm *vm, const rl_task *t)
{
    pthread_mutex_lock(&dog.lock);
    uint32_t slice = __atomic_load_n(&vm->slice, __ATOMIC_ACQUIRE);
    /* The slice is the one that t runs in if it is so before and after the look. */
    if (vm->watch && (slice & 1) && __atomic_load_n(&vm->running, __ATOMIC_ACQUIRE) == t &&
        __atomic_load_n(&vm->slice, __ATOMIC_ACQUIRE) == slice)
        __atomic_store_n(&vm->watch->unwanted, slice, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&dog.lock);
}

/* TSan puts a signal off until the program calls something of libc, which an endless loop never
 * does: there, the real sigaction is asked. */
static void take_signal(int signum, const struct sigaction *action)
{
#ifdef __SANITIZE_THREAD__
    extern int __sigaction(int, const struct sigaction *, struct sigaction *);
    __sigaction(signum, action, NULL);
#else
    sigaction(signum, action, NULL);
#endif
}

/* Once in a process; the thread lasts as long as that. Under the lock. */
static bool start(void)
{
    struct sigaction profiling, ours = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;

    if (dog.running || dog.failed)
        return dog.running;
    dog.failed = true;
    dog.owner = luaL_newstate();
    if (!dog.owner)
        return false;
    rl_list_init(&dog.watches);
    signal(SIGPROF, SIG_IGN); /* what the profiler leaves behind when it changes hands */
    give_profiler(NULL, dog.owner);
    sigaction(SIGPROF, NULL, &profiling);
    dog.trigger = profiling.sa_handler;
    sigemptyset(&ours.sa_mask);
    take_signal(SIGUSR2, &ours);

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    dog.running = true;
    dog.running = pthread_create(&thread, &attr, watch_all, NULL) == 0;
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    dog.failed = !dog.running;
    return dog.running;
}

static int64_t nanoseconds(double seconds)
{
    return seconds > 0 && seconds < 1e9 ? (int64_t)(seconds * 1e9) : INT64_MAX;
}

static void add(rl_vm *vm, double seconds, const char *setting)
{
    struct rl_watch *w = vm->watch;

    if (!w) {
        w = rl_calloc(1, sizeof(*w));
        w->vm = vm;
        w->thread = pthread_self();
        rl_list_init(&w->link);
        pthread_getcpuclockid(w->thread, &w->clock);
        prepare_traces(vm, true);
        here = vm;
        vm->watch = w;
        rl_list_push(&dog.watches, &w->link);
        pthread_cond_signal(&dog.wake);
    }
    w->limit = nanoseconds(seconds);
    w->setting = setting;
}

static void drop(rl_vm *vm)
{
    here = NULL;
    rl_list_remove(&vm->watch->link);
    prepare_traces(vm, false);
    rl_free(vm->watch);
    vm->watch = NULL;
}

void rl_watchdog_watch(rl_vm *vm, double seconds, const char *setting)
{
    RL_CHECK(!vm->scripting);
    pthread_mutex_lock(&dog.lock);
    if (seconds > 0 && start())
        add(vm, seconds, setting);
    else if (seconds > 0)
        rl_error("%s: the watchdog did not start, no script is interrupted", setting);
    else if (vm->watch)
        drop(vm);
    pthread_mutex_unlock(&dog.lock);
}

void rl_watchdog_limit(rl_vm *vm, double seconds)
{
    pthread_mutex_lock(&dog.lock);
    if (vm->watch)
        vm->watch->limit = nanoseconds(seconds);
    pthread_mutex_unlock(&dog.lock);
}
