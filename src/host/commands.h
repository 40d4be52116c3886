/* commands.h - the commands of `rille`, and what is told of each. */
#ifndef RL_HOST_COMMANDS_H
#define RL_HOST_COMMANDS_H

#include "base/base.h"

typedef enum rl_command {
    RL_CMD_HELP,
    RL_CMD_RUN,
    RL_CMD_DEV,
    RL_CMD_TEST,
    RL_CMD_CHECK,
    RL_CMD_ROUTES,
    RL_CMD_TOOL, /* in Lua: lua/rille/tools */
    RL_CMD_SEND,
    RL_CMD_SHELL,
    RL_CMD_ATTACH,
    RL_CMD_STATUS,
    RL_CMD_RELOAD,
    RL_CMD_ROLLBACK,
    RL_CMD_PROMOTE,
    RL_CMD_UPGRADE,
    RL_CMD_VERSION,
} rl_command;

typedef struct rl_command_text {
    const char *name;
    rl_command id;
    const char *args;    /* behind the name, as usage has them */
    const char *summary; /* its first paragraph stands in the list of all */
    bool serves;         /* takes the options of a server */
} rl_command_text;

const rl_command_text *rl_command_find(const char *name); /* NULL: there is none */

void rl_command_help(const char *name); /* to stdout; NULL: of all commands */

#endif
