/* Files, read off the loop's thread: what static routes need. And folders, for commands, which may
 * block. */
#include "bind/bind.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_READ = 256 * 1024 };

struct op {
    uv_fs_t req;
    rl_task *task; /* NULL: cancelled, the result is dropped */
    char *data;
};

static void free_op(struct op *op)
{
    uv_fs_req_cleanup(&op->req);
    rl_free(op->data);
    rl_free(op);
}

/* The thread may be in the middle of it: let it finish, and drop what it brings. */
static void cancel_op(void *arg)
{
    struct op *op = arg;

    op->task = NULL;
    uv_cancel((uv_req_t *)&op->req);
}

static int failure(lua_State *L, ssize_t rc)
{
    rl_err err;

    rl_err_set(&err, (int)rc, "%s", uv_strerror((int)rc));
    int n = rl_failure(L, &err);
    lua_pushstring(L, uv_err_name((int)rc));
    return n + 1;
}

static void on_opened(uv_fs_t *req)
{
    struct op *op = RL_CONTAINER_OF(req, struct op, req);
    ssize_t rc = req->result;

    if (!op->task) {
        uv_fs_t closing;
        if (rc >= 0)
            uv_fs_close(NULL, &closing, (uv_file)rc, NULL);
        free_op(op);
        return;
    }
    lua_State *L = rl_task_stack(op->task);
    struct stat st;
    if (rc >= 0 && fstat((int)rc, &st) == 0) {
        lua_pushinteger(L, (lua_Integer)rc);
        lua_pushnumber(L, (double)st.st_size);
        lua_pushnumber(L, (double)st.st_mtim.tv_sec + (double)st.st_mtim.tv_nsec / 1e9);
        lua_pushboolean(L, S_ISREG(st.st_mode));
        rl_task_wake(op->task, 4);
    } else {
        rl_task_wake(op->task, failure(L, rc));
    }
    free_op(op);
}

static struct op *new_op(rl_task *t)
{
    struct op *op = rl_calloc(1, sizeof(*op));

    op->task = t;
    return op;
}

/* open(path) -> fd, size, mtime, is a regular file | nil, error, name of the errno.
 * Close it with close(). */
static int l_open(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    rl_task *t = rl_task_current(L);

    struct op *op = new_op(t);
    uv_fs_open(&t->vm->loop->uv, &op->req, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0, on_opened);
    return rl_task_park(L, t, cancel_op, op);
}

static void on_read(uv_fs_t *req)
{
    struct op *op = RL_CONTAINER_OF(req, struct op, req);
    ssize_t rc = req->result;

    if (op->task && rc >= 0) {
        lua_pushlstring(rl_task_stack(op->task), op->data, (size_t)rc);
        rl_task_wake(op->task, 1);
    } else if (op->task) {
        rl_task_wake(op->task, failure(rl_task_stack(op->task), rc));
    }
    free_op(op);
}

/* read(fd, offset, bytes) -> string, "" at the end | nil, error, name of the errno */
static int l_read(lua_State *L)
{
    uv_file fd = (uv_file)luaL_checkinteger(L, 1);
    int64_t offset = (int64_t)luaL_checknumber(L, 2);
    lua_Integer n = luaL_checkinteger(L, 3);
    luaL_argcheck(L, n > 0 && n <= MAX_READ, 3, "1 to 262144 bytes");
    rl_task *t = rl_task_current(L);

    struct op *op = new_op(t);
    op->data = rl_malloc((size_t)n);
    uv_buf_t buf = uv_buf_init(op->data, (unsigned)n);
    uv_fs_read(&t->vm->loop->uv, &op->req, fd, &buf, 1, offset, on_read);
    return rl_task_park(L, t, cancel_op, op);
}

/* close(fd) */
static int l_close(lua_State *L)
{
    uv_fs_t req;

    uv_fs_close(NULL, &req, (uv_file)luaL_checkinteger(L, 1), NULL);
    uv_fs_req_cleanup(&req);
    return 0;
}

/* What failed, by errno. */
static int failed(lua_State *L)
{
    return failure(L, uv_translate_sys_error(errno));
}

/* list(folder) -> names in order | nil, error, name of the errno */
static int l_list(lua_State *L)
{
    struct dirent **entries;
    int n = scandir(luaL_checkstring(L, 1), &entries, NULL, alphasort), count = 0;

    if (n < 0)
        return failed(L);
    lua_newtable(L);
    for (int i = 0; i < n; i++) {
        if (strcmp(entries[i]->d_name, ".") != 0 && strcmp(entries[i]->d_name, "..") != 0) {
            lua_pushstring(L, entries[i]->d_name);
            lua_rawseti(L, -2, ++count);
        }
        free(entries[i]);
    }
    free(entries);
    return 1;
}

/* mkdir(folder) -> true | nil, error, name of the errno; true also if it is there. */
static int l_mkdir(lua_State *L)
{
    if (mkdir(luaL_checkstring(L, 1), 0777) < 0 && errno != EEXIST)
        return failed(L);
    lua_pushboolean(L, true);
    return 1;
}

/* realpath(path) -> absolute, without links | nil, error, name of the errno */
static int l_realpath(lua_State *L)
{
    char *path = realpath(luaL_checkstring(L, 1), NULL);

    if (!path)
        return failed(L);
    lua_pushstring(L, path);
    free(path);
    return 1;
}

/* is_terminal(fd) */
static int l_is_terminal(lua_State *L)
{
    lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
    return 1;
}

static const luaL_Reg functions[] = {
    {"open", l_open}, /* yields */
    {"read", l_read}, /* yields */
    {"close", l_close},
    {"list", l_list},
    {"mkdir", l_mkdir},
    {"realpath", l_realpath},
    {"is_terminal", l_is_terminal},
    {NULL, NULL},
};

int rl_open_fs(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
