#include "io/watch.h"

#include "base/buf.h"
#include "base/map.h"
#include "base/sum.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    SETTLE_MS = 60,    /* without events, before looking: a save is several */
    LONGEST_MS = 1000, /* but then it is looked, whatever still happens */
    PATIENCE = 3,      /* times that, for a file that is missing or empty */
    GIT_MS = 5000,     /* for a checkout to end; a lock that stays is a ruin */
    ROUNDS = 5,        /* of following a path while others change it */
    MAX_LINKS = 40,
    READ_AT_MOST = 1 << 24,
};

/* What a file holds: a sum of it, or one of these. */
enum { MISSING = 0, EMPTY = 1 };

struct file {
    char *path;
    uint64_t sum;     /* when fn was last told, or nobody needed to be */
    bool lost;        /* it has stayed away for so long that nobody waits for it */
    bool wanted;      /* by rl_watch_set() */
    struct stat seen; /* when it was last read, */
    uint64_t found;   /* this */
};

struct dir {
    uv_fs_event_t event;
    rl_watch *watch;
    dev_t dev;
    ino_t ino;
    rl_map names; /* that count; the keys are what matters */
    bool wanted;  /* in this round */
};

struct rl_watch {
    rl_loop *loop;
    rl_watch_fn *fn;
    void *arg;
    uv_timer_t settle;
    uint64_t since;   /* ms, loop's clock: the first event that was not looked after; 0: none */
    unsigned waited;  /* looks that found something in the middle */
    rl_map files;     /* by path */
    rl_map dirs;      /* by path */
    unsigned handles; /* open */
    bool closed;
};

/* What a file holds */

static uint64_t sum_of(int fd)
{
    uint64_t sum = RL_SUM_EMPTY;
    char chunk[16384];
    ssize_t n, total = 0;

    while ((n = pread(fd, chunk, sizeof(chunk), total)) > 0 && total < READ_AT_MOST) {
        sum = rl_sum_on(sum, (rl_str){chunk, (size_t)n});
        total += n;
    }
    if (total == 0)
        return n < 0 ? MISSING : EMPTY;
    return sum <= EMPTY ? sum + 2 : sum;
}

static bool is_same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* Untouched since it was read. The clock that files are stamped with is coarse: what was read
 * within a second of its last change may have changed again under the same stamp. */
static bool is_untouched(const struct file *f, const struct stat *now)
{
    const struct stat *seen = &f->seen;

    return f->found > EMPTY && seen->st_dev == now->st_dev && seen->st_ino == now->st_ino &&
           seen->st_size == now->st_size && is_same_time(seen->st_mtim, now->st_mtim) &&
           is_same_time(seen->st_ctim, now->st_ctim) && now->st_ctim.tv_sec + 1 < time(NULL);
}

/* False: nothing that can be read. */
static bool is_file(int fd, struct stat *st)
{
    return fd >= 0 && fstat(fd, st) == 0 && S_ISREG(st->st_mode);
}

static int open_file(const char *path)
{
    return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

uint64_t rl_watch_sum(const char *path, int fd)
{
    int own = fd < 0 ? open_file(path) : -1;
    int at = fd < 0 ? own : fd;
    struct stat st;
    uint64_t sum = is_file(at, &st) ? sum_of(at) : MISSING;

    if (own >= 0)
        close(own);
    return sum;
}

static uint64_t content_of(struct file *f)
{
    struct stat now = {0};
    int fd = open_file(f->path);

    if (!is_file(fd, &now))
        f->found = MISSING;
    else if (!is_untouched(f, &now))
        f->found = sum_of(fd);
    if (fd >= 0) {
        f->seen = now;
        close(fd);
    }
    return f->found;
}

/* The folders on the way */

static void release(rl_watch *w)
{
    if (--w->handles == 0 && w->closed)
        rl_free(w);
}

static void on_dir_closed(uv_handle_t *h)
{
    struct dir *d = RL_CONTAINER_OF(h, struct dir, event);
    rl_watch *w = d->watch;

    rl_map_fini(&d->names);
    rl_free(d);
    release(w);
}

static void look(uv_timer_t *timer);

static void stir(rl_watch *w)
{
    uint64_t now = uv_now(&w->loop->uv);

    if (!w->since)
        w->since = now;
    else if (uv_is_active((uv_handle_t *)&w->settle) && now - w->since >= LONGEST_MS)
        return;
    uv_timer_start(&w->settle, look, SETTLE_MS, 0);
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
    struct dir *d = RL_CONTAINER_OF(event, struct dir, event);

    if (status < 0 || !name || rl_map_get(&d->names, rl_str_of(name)))
        stir(d->watch);
}

static struct dir *open_dir(rl_watch *w, const char *path, const struct stat *st)
{
    struct dir *d = rl_calloc(1, sizeof(*d));

    d->watch = w;
    d->dev = st->st_dev;
    d->ino = st->st_ino;
    uv_fs_event_init(&w->loop->uv, &d->event);
    w->handles++;
    uv_fs_event_start(&d->event, on_event, path, 0); /* one that we may not read stays unheard */
    return d;
}

static void close_dir(struct dir *d)
{
    uv_close((uv_handle_t *)&d->event, on_dir_closed);
}

/* A name in a folder counts. True: the folder was not watched before. */
static bool expect(rl_watch *w, const char *folder, rl_str name)
{
    const char *path = *folder ? folder : "/";
    struct dir *d = rl_map_get(&w->dirs, rl_str_of(path));
    bool opened = false;
    struct stat st;

    if (d && d->wanted) {
        rl_map_put(&d->names, name, w);
        return false;
    }
    if (stat(path, &st) < 0)
        return false;
    if (d && (d->dev != st.st_dev || d->ino != st.st_ino)) { /* another of the same name */
        close_dir(d);
        d = NULL;
    }
    if (!d) {
        d = open_dir(w, path, &st);
        rl_map_put(&w->dirs, rl_str_of(path), d);
        opened = true;
    }
    d->wanted = true;
    rl_map_put(&d->names, name, w);
    return opened;
}

static bool is_name(rl_str name, const char *text)
{
    return rl_str_eq(name, rl_str_of(text));
}

/* Follow a path as the system does, as far as it leads: what is missing is then waited for in the
 * folder where it should be. True: some folder was not watched before. */
static bool follow(rl_watch *w, const char *path)
{
    char at[PATH_MAX] = "", next[PATH_MAX], target[PATH_MAX], rest[PATH_MAX];
    bool opened = false;
    struct stat st;

    snprintf(rest, sizeof(rest), "%s", path);
    for (int links = 0; links < MAX_LINKS;) {
        char *begin = rest + strspn(rest, "/");
        rl_str name = {begin, strcspn(begin, "/")};
        if (name.n == 0)
            break;
        if (is_name(name, "..") && strrchr(at, '/'))
            *strrchr(at, '/') = '\0';
        if (!is_name(name, ".") && !is_name(name, "..")) {
            opened |= expect(w, at, name);
            if (snprintf(next, sizeof(next), "%s/%.*s", at, (int)name.n, name.p) >=
                    (int)sizeof(next) ||
                lstat(next, &st) < 0)
                break;
            ssize_t n = S_ISLNK(st.st_mode) ? readlink(next, target, sizeof(target) - 1) : -1;
            if (n >= 0) {
                size_t left = strlen(begin + name.n);
                if ((size_t)n + left >= sizeof(rest))
                    break;
                memmove(rest + n, begin + name.n, left + 1);
                memcpy(rest, target, (size_t)n);
                if (target[0] == '/')
                    at[0] = '\0';
                links++;
                continue;
            }
            memcpy(at, next, sizeof(at));
        }
        memmove(rest, begin + name.n, strlen(begin + name.n) + 1);
    }
    return opened;
}

static void drop_unwanted(rl_watch *w)
{
    size_t at = 0;
    rl_str path;
    void *value;

    while (rl_map_next(&w->dirs, &at, &path, &value)) {
        struct dir *d = value;
        if (d->wanted)
            continue;
        rl_map_remove(&w->dirs, path);
        close_dir(d);
    }
}

/* Have exactly the folders watched that matter. What was made below a new one before it was
 * watched is found by following again. */
static void plan(rl_watch *w)
{
    bool again = true;
    size_t at;
    rl_str path;
    void *value;

    for (int round = 0; again && round < ROUNDS; round++) {
        again = false;
        for (at = 0; rl_map_next(&w->dirs, &at, &path, &value);) {
            struct dir *d = value;
            d->wanted = false;
            rl_map_fini(&d->names);
        }
        for (at = 0; rl_map_next(&w->files, &at, &path, &value);)
            again |= follow(w, ((struct file *)value)->path);
    }
    drop_unwanted(w);
}

/* Looking */

/* Git holds its lock until the last file of a checkout is there; most of them are not ours, so they
 * are no events. */
static bool is_checking_out(const rl_watch *w)
{
    char lock[PATH_MAX];
    size_t at = 0;
    rl_str path;
    void *value;

    while (rl_map_next(&w->dirs, &at, &path, &value)) {
        int n = snprintf(lock, sizeof(lock), "%.*s/.git/index.lock", (int)path.n, path.p);
        if (n < (int)sizeof(lock) && access(lock, F_OK) == 0)
            return true;
    }
    return false;
}

static void look(uv_timer_t *timer)
{
    rl_watch *w = RL_CONTAINER_OF(timer, rl_watch, settle);
    bool changed = false, between = false;
    size_t at = 0;
    rl_str path;
    void *value;

    plan(w);
    if (is_checking_out(w) && uv_now(&w->loop->uv) - w->since < GIT_MS) {
        uv_timer_start(timer, look, SETTLE_MS, 0);
        return;
    }
    while (rl_map_next(&w->files, &at, &path, &value)) {
        struct file *f = value;
        uint64_t now = content_of(f);
        between |= now <= EMPTY && f->sum > EMPTY && !f->lost;
    }
    if (between && w->waited++ < PATIENCE) {
        uv_timer_start(timer, look, SETTLE_MS, 0);
        return;
    }
    w->waited = 0;
    w->since = 0;
    for (at = 0; rl_map_next(&w->files, &at, &path, &value);) {
        struct file *f = value;
        f->lost = f->found == MISSING;
        if (f->lost || f->found == f->sum)
            continue;
        f->sum = f->found;
        changed = true;
    }
    if (changed)
        w->fn(w->arg);
}

/* Which files */

static char *absolute(const char *path)
{
    char folder[PATH_MAX];

    if (path[0] == '/' || !getcwd(folder, sizeof(folder)))
        return rl_strdup(path);
    return rl_sprintf("%s/%s", folder, path);
}

/* True: it was not known before. */
static bool add(rl_watch *w, const char *given, struct file **out)
{
    char *path = absolute(given);
    struct file *f = rl_map_get(&w->files, rl_str_of(path));
    bool known = f != NULL;

    if (known) {
        rl_free(path);
    } else {
        f = rl_calloc(1, sizeof(*f));
        f->path = path;
        rl_map_put(&w->files, rl_str_of(path), f);
    }
    f->wanted = true;
    *out = f;
    return !known;
}

static void forget(rl_watch *w, struct file *f)
{
    rl_map_remove(&w->files, rl_str_of(f->path));
    rl_free(f->path);
    rl_free(f);
}

void rl_watch_add(rl_watch *w, const char *path, uint64_t sum)
{
    struct file *f;

    if (!add(w, path, &f))
        return;
    f->sum = sum;
    stir(w); /* a look finds its folders, and whether it has changed by then */
}

void rl_watch_set(rl_watch *w, char *const *paths, size_t n)
{
    size_t at = 0;
    rl_str path;
    void *value;

    while (rl_map_next(&w->files, &at, &path, &value))
        ((struct file *)value)->wanted = false;
    for (size_t i = 0; i < n; i++) {
        struct file *f;
        if (add(w, paths[i], &f))
            f->sum = content_of(f);
    }
    for (at = 0; rl_map_next(&w->files, &at, &path, &value);)
        if (!((struct file *)value)->wanted)
            forget(w, value);
    plan(w);
}

/* Opening and closing */

rl_watch *rl_watch_open(rl_loop *loop, rl_watch_fn *fn, void *arg)
{
    rl_watch *w = rl_calloc(1, sizeof(*w));

    w->loop = loop;
    w->fn = fn;
    w->arg = arg;
    uv_timer_init(&loop->uv, &w->settle);
    w->handles = 1;
    return w;
}

static void on_timer_closed(uv_handle_t *h)
{
    release(RL_CONTAINER_OF(h, rl_watch, settle));
}

void rl_watch_close(rl_watch *w)
{
    size_t at = 0;
    rl_str path;
    void *value;

    if (!w)
        return;
    while (rl_map_next(&w->files, &at, &path, &value))
        forget(w, value);
    rl_map_fini(&w->files);
    for (at = 0; rl_map_next(&w->dirs, &at, &path, &value);)
        close_dir(value);
    rl_map_fini(&w->dirs);
    w->closed = true;
    uv_close((uv_handle_t *)&w->settle, on_timer_closed);
}
