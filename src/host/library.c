#include "host/library.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

static const rl_library_file *find(const char *path)
{
    for (size_t i = 0; i < rl_library_count; i++)
        if (strcmp(rl_library_files[i].path, path) == 0)
            return &rl_library_files[i];
    return NULL;
}

/* rl_free() it. */
static char *text_of(const rl_library_file *file)
{
    uLongf size = file->size;
    char *text = rl_malloc(size + 1);

    RL_CHECK(uncompress((Bytef *)text, &size, file->deflated, file->packed) == Z_OK);
    return text;
}

static bool is_declaration(const char *path)
{
    return strncmp(path, "rille/_meta/", 12) == 0;
}

/* A searcher as in package.loaders: the chunk, or a string that says where we looked. */
static int l_search(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const char *path = luaL_gsub(L, name, ".", "/");
    const rl_library_file *file;
    char full[256], chunk[264];

    snprintf(full, sizeof(full), "%s.lua", path);
    file = find(full);
    if (!file) {
        snprintf(full, sizeof(full), "%s/init.lua", path);
        file = find(full);
    }
    if (!file || is_declaration(file->path)) {
        lua_pushfstring(L, "\n\tno file in rille's library for '%s'", name);
        return 1;
    }
    snprintf(chunk, sizeof(chunk), "@%s", full);
    char *text = text_of(file);
    int rc = luaL_loadbuffer(L, text, file->size, chunk);
    rl_free(text);
    return rc ? lua_error(L) : 1;
}

/* The loader of rille.core.library. */
static int l_files(lua_State *L)
{
    lua_createtable(L, 0, (int)rl_library_count);
    for (size_t i = 0; i < rl_library_count; i++) {
        char *text = text_of(&rl_library_files[i]);
        lua_pushlstring(L, text, rl_library_files[i].size);
        rl_free(text);
        lua_setfield(L, -2, rl_library_files[i].path);
    }
    return 1;
}

void rl_library_install(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    lua_pushcfunction(L, l_files);
    lua_setfield(L, -2, "rille.core.library");
    lua_pop(L, 1);
    lua_getfield(L, -1, "loaders"); /* [package, loaders] */
    for (int i = (int)lua_objlen(L, -1); i >= 2; i--) {
        lua_rawgeti(L, -1, i);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, l_search);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 2);
}
