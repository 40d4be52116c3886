/* library.h - rille's own Lua files, in the binary: one file to run.
 *
 * embed.py writes the table at build time. The declarations in _meta are there to be handed to
 * editors, by `rille types`; they are no modules. */
#ifndef RL_HOST_LIBRARY_H
#define RL_HOST_LIBRARY_H

#include "vm/vm.h"

typedef struct rl_library_file {
    const char *path;              /* "rille/init.lua" */
    const unsigned char *deflated; /* in zlib's format: most of it is seldom read */
    size_t packed, size;           /* bytes as they are here, and of the text */
} rl_library_file;

extern const rl_library_file rl_library_files[];
extern const size_t rl_library_count;

/* Have `require "rille.x"` look here before the file system. `rille.core.library` is a table with
 * the text of every file by its path. */
void rl_library_install(lua_State *L);

#endif
