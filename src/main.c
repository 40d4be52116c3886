/* main.c - argv to a command; nothing else. */
#include "control/attach.h"
#include "app/program.h"
#include "control/remote.h"
#include "control/send.h"
#include "host/settings.h"

#include <stdio.h>

/* Reading takes words apart; a process that is to take over from us is started with the same. */
static char **copy_words(int argc, char **argv)
{
    char **copy = rl_calloc((size_t)argc + 1, sizeof(*copy));

    for (int i = 0; i < argc; i++)
        copy[i] = rl_strdup(argv[i]);
    return copy;
}

static void free_words(char **words)
{
    for (char **word = words; *word; word++)
        rl_free(*word);
    rl_free(words);
}

static int run(const rl_settings *settings, int argc)
{
    switch (settings->command) {
    case RL_CMD_HELP:
        rl_command_help(settings->help_for);
        return argc < 2 ? 2 : 0;
    case RL_CMD_VERSION:
        printf("rille %s\n", RILLE_VERSION);
        return 0;
    case RL_CMD_SEND:
        return settings->layer ? rl_program_run(settings) : rl_send_run(settings);
    case RL_CMD_ATTACH:
        return rl_attach_run(settings);
    case RL_CMD_STATUS:
    case RL_CMD_RELOAD:
    case RL_CMD_ROLLBACK:
    case RL_CMD_PROMOTE:
    case RL_CMD_UPGRADE:
        return rl_remote_run(settings);
    default:
        return rl_program_run(settings);
    }
}

int main(int argc, char **argv)
{
    char **words = copy_words(argc, argv);
    rl_settings settings;
    int status = 2;
    rl_err err;

    if (rl_settings_read(&settings, argc, argv, &err) < 0) {
        fprintf(stderr, "rille: %s\n", err.msg);
    } else {
        settings.argv = words;
        rl_log_setup(settings.log_level, settings.log_format, 2);
        status = run(&settings, argc);
    }
    free_words(words);
    return status;
}
