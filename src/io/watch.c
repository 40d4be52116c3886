#include "io/watch.h"

#include "base/buf.h"
#include "base/map.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum {
    SETTLE_MS = 60, /* without events, before looking: a save is several */
    READ_AT_MOST = 1 << 24,
};

struct file {
    char *path;
    uint64_t sum; /* of its content; 0: it cannot be read */
};

struct dir {
    uv_fs_event_t event;
    rl_watch *watch;
    rl_list link;
};

struct rl_watch {
    rl_loop *loop;
    rl_watch_fn *fn;
    void *arg;
    uv_timer_t settle;
    struct file *files;
    size_t nfiles;
    rl_list dirs;
    unsigned open_handles;
    bool closed;
};

/* FNV-1a: no enemy chooses what is saved here. An empty file, which is how a save in place
 * looks in its first moment, counts as unreadable. */
static uint64_t sum_of(const char *path)
{
    uint64_t sum = 14695981039346656037u;
    char chunk[16384];
    ssize_t n, total = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return 0;
    while ((n = read(fd, chunk, sizeof(chunk))) > 0 && total < READ_AT_MOST) {
        for (ssize_t i = 0; i < n; i++)
            sum = (sum ^ (uint8_t)chunk[i]) * 1099511628211u;
        total += n;
    }
    close(fd);
    return total ? sum : 0;
}

static void look(uv_timer_t *timer)
{
    rl_watch *w = RL_CONTAINER_OF(timer, rl_watch, settle);
    bool changed = false;

    for (size_t i = 0; i < w->nfiles; i++) {
        uint64_t sum = sum_of(w->files[i].path);
        if (sum == 0) { /* in the middle of something: its end is another event, or is soon */
            uv_timer_start(&w->settle, look, SETTLE_MS * 4, 0);
            continue;
        }
        changed |= sum != w->files[i].sum;
        w->files[i].sum = sum;
    }
    if (changed)
        w->fn(w->arg);
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
    struct dir *d = RL_CONTAINER_OF(event, struct dir, event);

    uv_timer_start(&d->watch->settle, look, SETTLE_MS, 0);
}

static void release(rl_watch *w)
{
    if (--w->open_handles == 0 && w->closed)
        rl_free(w);
}

static void on_dir_closed(uv_handle_t *h)
{
    struct dir *d = RL_CONTAINER_OF(h, struct dir, event);
    rl_watch *w = d->watch;

    rl_free(d);
    release(w);
}

static void on_timer_closed(uv_handle_t *h)
{
    release(RL_CONTAINER_OF(h, rl_watch, settle));
}

static void forget(rl_watch *w)
{
    rl_list *it;

    for (size_t i = 0; i < w->nfiles; i++)
        rl_free(w->files[i].path);
    rl_free(w->files);
    w->files = NULL;
    w->nfiles = 0;
    while ((it = rl_list_pop(&w->dirs)))
        uv_close((uv_handle_t *)&RL_LIST_ENTRY(it, struct dir, link)->event, on_dir_closed);
}

static void watch_dir(rl_watch *w, const char *path)
{
    struct dir *d = rl_calloc(1, sizeof(*d));

    d->watch = w;
    rl_list_init(&d->link);
    uv_fs_event_init(&w->loop->uv, &d->event);
    w->open_handles++;
    rl_list_push(&w->dirs, &d->link);
    uv_fs_event_start(&d->event, on_event, path, 0);
}

rl_watch *rl_watch_open(rl_loop *loop, rl_watch_fn *fn, void *arg)
{
    rl_watch *w = rl_calloc(1, sizeof(*w));

    w->loop = loop;
    w->fn = fn;
    w->arg = arg;
    rl_list_init(&w->dirs);
    uv_timer_init(&loop->uv, &w->settle);
    w->open_handles = 1;
    return w;
}

void rl_watch_set(rl_watch *w, char *const *paths, size_t n)
{
    rl_map seen = {0};

    forget(w);
    w->files = rl_calloc(n, sizeof(*w->files));
    w->nfiles = n;
    for (size_t i = 0; i < n; i++) {
        const char *slash = strrchr(paths[i], '/');
        char *dir = slash ? rl_strndup(paths[i], (size_t)(slash - paths[i])) : rl_strdup(".");
        w->files[i] = (struct file){rl_strdup(paths[i]), sum_of(paths[i])};
        if (!rl_map_put(&seen, rl_str_of(dir), w))
            watch_dir(w, *dir ? dir : "/");
        rl_free(dir);
    }
    rl_map_fini(&seen);
}

void rl_watch_close(rl_watch *w)
{
    if (!w)
        return;
    forget(w);
    w->closed = true;
    uv_close((uv_handle_t *)&w->settle, on_timer_closed);
}
