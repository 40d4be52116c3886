/* library.h - rille's own Lua files, in the binary: one file to run.
 *
 * embed.py writes the table at build time. */
#ifndef RL_APP_LIBRARY_H
#define RL_APP_LIBRARY_H

#include "vm/vm.h"

typedef struct rl_library_file {
    const char *path; /* "rille/init.lua" */
    const char *text;
    size_t size;
} rl_library_file;

extern const rl_library_file rl_library_files[];
extern const size_t rl_library_count;

/* Have `require "rille.x"` look here before the file system. */
void rl_library_install(lua_State *L);

#endif
