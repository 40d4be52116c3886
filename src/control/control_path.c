#include "control/control_path.h"

#include "base/buf.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The folder */

static char *folder(void)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");

    if (runtime && runtime[0] == '/')
        return rl_sprintf("%s/rille", runtime);
    if (geteuid() == 0)
        return rl_strdup("/run/rille");
    return rl_sprintf("/tmp/rille-%u", (unsigned)geteuid());
}

/* In /tmp anybody could have been there first. */
static int make_folder(const char *path, rl_err *err)
{
    struct stat st;

    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return rl_err_set(err, -errno, "no folder %s: %s", path, strerror(errno));
    if (lstat(path, &st) < 0)
        return rl_err_set(err, -errno, "no folder %s: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022))
        return rl_err_set(err, -EPERM, "%s is not a folder that only this user may write to", path);
    return 0;
}

/* "chat-1f0c33a2." of examples/chat; "" of NULL. */
static char *prefix_of(const char *app)
{
    char real[PATH_MAX], name[25];
    uint32_t hash = 2166136261u;

    if (!app)
        return rl_strdup("");
    if (!realpath(app, real))
        snprintf(real, sizeof(real), "%s", app);
    size_t n = strlen(real);
    if (n > 8 && strcmp(real + n - 8, "/app.lua") == 0)
        n -= 8; /* the same as its folder */
    else if (n > 4 && strcmp(real + n - 4, ".lua") == 0)
        n -= 4;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (uint8_t)real[i]) * 16777619u;
    const char *slash = memrchr(real, '/', n);
    const char *base = slash ? slash + 1 : real;
    snprintf(name, sizeof(name), "%.*s", (int)(n - (size_t)(base - real)), base);
    for (char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && *c != '_')
            *c = '_';
    return rl_sprintf("%s-%08x.", name, hash);
}

/* What processes that were killed have left. */
static void sweep(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;

    while (d && (e = readdir(d))) {
        const char *dot = strchr(e->d_name, '.');
        long pid = dot ? strtol(dot + 1, NULL, 10) : 0;
        if (pid > 0 && kill((pid_t)pid, 0) < 0 && errno == ESRCH)
            unlinkat(dirfd(d), e->d_name, 0);
    }
    if (d)
        closedir(d);
}

int rl_control_path(char **out, const char *app, rl_err *err)
{
    char *dir = folder();
    int rc = make_folder(dir, err);

    if (rc == 0) {
        sweep(dir);
        char *prefix = prefix_of(app);
        *out = rl_sprintf("%s/%s%d.sock", dir, prefix, (int)getpid());
        rl_free(prefix);
    }
    rl_free(dir);
    return rc;
}

char *rl_control_link(const char *path, const char *app)
{
    char *bare = rl_strndup(path, strcspn(path, ",")), real[PATH_MAX], *link = NULL;
    rl_err err;

    if (realpath(bare, real) && rl_control_path(&link, app, &err) == 0) {
        unlink(link); /* of one that had our number before us */
        if (symlink(real, link) < 0) {
            rl_free(link);
            link = NULL;
        }
    }
    rl_free(bare);
    return link;
}

/* Dialling */

static int dial(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t n = strcspn(path, ",");

    if (n >= sizeof(addr.sun_path))
        return -ENAMETOOLONG;
    memcpy(addr.sun_path, path, n);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
        return fd;
    int rc = -errno;
    close(fd);
    return rc;
}

static int refused(const char *path, int rc, rl_err *err)
{
    struct stat st;
    const struct passwd *owner = stat(path, &st) == 0 ? getpwuid(st.st_uid) : NULL;

    if (rc == -EACCES || rc == -EPERM)
        return rl_err_set(err, rc, "no permission for %s: it is for %s alone", path,
                          owner ? owner->pw_name : "its owner");
    return rl_err_set(err, rc, "nobody answers at %s: %s", path, strerror(-rc));
}

/* Everybody who answers behind a name that begins so: how many, the first one's descriptor, and all
 * their paths. What nobody answers behind is removed. */
static int find(const char *dir, const char *prefix, unsigned *n, rl_buf *paths, rl_err *err)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    int first = -1;

    if (!d && errno == EACCES)
        return rl_err_set(err, -errno, "no permission for %s", dir);
    while (d && (e = readdir(d))) {
        if (strncmp(e->d_name, prefix, strlen(prefix)) != 0 || !strstr(e->d_name, ".sock"))
            continue;
        char *path = rl_sprintf("%s/%s", dir, e->d_name);
        int fd = dial(path);
        if (fd == -ECONNREFUSED || fd == -ENOENT) /* ENOENT: a link's end has gone */
            unlink(path);
        if (fd >= 0) {
            rl_buf_printf(paths, "\n  --control %s", path);
            if ((*n)++ == 0)
                first = fd;
            else
                close(fd);
        }
        rl_free(path);
    }
    if (d)
        closedir(d);
    return first;
}

int rl_control_dial(const char *path, const char *app, rl_err *err)
{
    rl_buf paths = {0};
    unsigned n = 0;

    if (path) {
        int fd = dial(path);
        return fd < 0 ? refused(path, fd, err) : fd;
    }
    if (app && access(app, F_OK) < 0)
        return rl_err_set(err, -errno, "no application at %s: %s", app, strerror(errno));
    char *dir = folder(), *prefix = prefix_of(app);
    int fd = find(dir, prefix, &n, &paths, err);
    if (n > 1) {
        close(fd);
        fd = rl_err_set(err, -ENOTUNIQ, "%u processes%s%s: which one?%.*s", n, app ? " serve " : "",
                        app ? app : "", 200, rl_buf_cstr(&paths));
    } else if (n == 0 && fd == -1) {
        fd = rl_err_set(err, -ENOENT,
                        "no process of this user%s%s (looked in %s; --control PATH names another)",
                        app ? " serves " : " serves anything", app ? app : "", dir);
    }
    rl_buf_fini(&paths);
    rl_free(prefix);
    rl_free(dir);
    return fd;
}
