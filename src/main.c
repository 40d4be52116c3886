/* main.c - argv to a command; nothing else. */
#include "app/attach.h"
#include "app/program.h"
#include "app/remote.h"
#include "app/send.h"
#include "app/settings.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    rl_settings settings;
    rl_err err;

    if (rl_settings_read(&settings, argc, argv, &err) < 0) {
        fprintf(stderr, "rille: %s\n", err.msg);
        return 2;
    }
    rl_log_setup(settings.log_level, settings.log_format, 2);
    switch (settings.command) {
    case RL_CMD_HELP:
        rl_settings_help(settings.help_for);
        return argc < 2 ? 2 : 0;
    case RL_CMD_VERSION:
        printf("rille %s\n", RILLE_VERSION);
        return 0;
    case RL_CMD_SEND:
        return settings.layer ? rl_program_run(&settings) : rl_send_run(&settings);
    case RL_CMD_ATTACH:
        return rl_attach_run(&settings);
    case RL_CMD_STATUS:
    case RL_CMD_RELOAD:
    case RL_CMD_ROLLBACK:
    case RL_CMD_PROMOTE:
        return rl_remote_run(&settings);
    default:
        return rl_program_run(&settings);
    }
}
