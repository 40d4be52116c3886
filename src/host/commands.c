#include "host/commands.h"

#include <stdio.h>
#include <string.h>

#define AS_RUN                                                                           \
    "\n\nIts settings are what they would be for `rille run` with the same options and " \
    "environment:\n`rille help run` lists them."

static const rl_command_text commands[] = {
    {"run", RL_CMD_RUN, "APP [options]", "serve an application", true},
    {"dev", RL_CMD_DEV, "APP [options]",
     "serve it while you write it: reload on save, tables created, errors in full", true},
    {"test", RL_CMD_TEST, "[PATH…] [options, also busted's]",
     "run specs inside the runtime: an `it` may call `a` functions\n\n"
     "  --watch               again, whenever a Lua file below this folder changes\n"
     "  --jobs N              in so many processes, each with databases of its own\n"
     "  --cpu-limit SECONDS   of CPU without waiting, then a test is interrupted, and fails; 0: "
     "none\n"
     "                        (RILLE_TEST_CPU_LIMIT; default 10)\n"
     "  --coverage[=FILE]     write which lines of the scripts ran, in LCOV's format (default\n"
     "                        lcov.info)\n"
     "\nOf busted's options, among others:\n\n"
     "  --filter PATTERN      of names, a Lua pattern; --filter-out, those that do not run\n"
     "  -t, --tags LIST       which have #one of these in their names; --exclude-tags\n"
     "  -o, --output NAME     utfTerminal, TAP, junit, json, gtest, …; -Xoutput is for it\n"
     "  -v                    tracebacks of all errors\n"
     "  --no-keep-going       stop at the first that fails\n"
     "  --shuffle, --repeat N, --list",
     false},
    {"check", RL_CMD_CHECK, "APP [options]", "load and validate, serve nothing" AS_RUN, false},
    {"routes", RL_CMD_ROUTES, "APP [options]", "print the routes" AS_RUN, false},
    {"makemigrations", RL_CMD_TOOL, "APP [options]",
     "write what has changed in the models as a migration\n\n"
     "  --name NAME           of the file, behind its number\n"
     "  --empty               one without operations, to be written by hand\n"
     "  --check               write nothing; exit 1 if there is something to write\n"
     "  --dry-run             print it\n"
     "  --rename A.B=A.C      column B of table A is now C; A=B: the table A is now B. May be\n"
     "                        repeated; without it a terminal is asked\n"
     "  --fill A.B=VALUE      what existing rows get in a new column that cannot be NULL",
     false},
    {"migrate", RL_CMD_TOOL, "APP [options]",
     "bring the tables to what the migrations say; without any, create those that are missing\n\n"
     "  --to NUMBER           up or down to this one; zero: undo all\n"
     "  --plan                print what would be done\n"
     "  --fake                only note it as done\n"
     "  --database NAME|URL   one of the application's databases, or another default\n"
     "                        (DATABASE_URL)",
     false},
    {"inspectdb", RL_CMD_TOOL, "APP [TABLE…] | --database URL [TABLE…]",
     "print models for the tables of a database\n\n"
     "  --database NAME|URL   which one (DATABASE_URL; default the application's)",
     false},
    {"types", RL_CMD_TOOL, "APP",
     "write declarations of rille and of the models for editors, to .rille beside the script",
     false},
    {"new", RL_CMD_TOOL, "FOLDER", "write a project to begin with", false},
    {"send", RL_CMD_SEND, "GROUP JSON [--admin ADDR | --layer URL]",
     "send a message to a group\n\n"
     "Through a running server's admin address (RILLE_ADMIN; the server's token is in\n"
     "RILLE_PUBLISH_TOKEN), or through what joins several (RILLE_LAYER).",
     false},
    {"shell", RL_CMD_SHELL, "APP [options]",
     "load an application, serve nothing, and run what you type in it" AS_RUN, false},
    {"attach", RL_CMD_ATTACH, "[APP | --control PATH] [--worker N]",
     "the same in a worker of a running process", false},
    {"status", RL_CMD_STATUS, "[APP | --control PATH] [--json]", "how a running process does",
     false},
    {"reload", RL_CMD_RELOAD, "[APP | --control PATH]",
     "have a running process load its code anew; says what came of it", false},
    {"rollback", RL_CMD_ROLLBACK, "[APP | --control PATH]", "return it to the code before", false},
    {"upgrade", RL_CMD_UPGRADE, "[APP | --control PATH] [--program FILE]",
     "have another process take over, of the program file that is there by now\n\n"
     "Listening sockets and WebSockets are handed over; nobody who is connected notices.",
     false},
    {"promote", RL_CMD_PROMOTE, "[APP | --control PATH]", "end the trial of its new code well",
     false},
    {"version", RL_CMD_VERSION, "", "print the version", false},
    {"help", RL_CMD_HELP, "[COMMAND]", "this, or more about a command", false},
};

static const char server_options[] =
    "  --listen ADDR         HOST:PORT, [IPV6]:PORT, :PORT (every address), localhost:PORT,\n"
    "                        unix:PATH (also with ,mode=0660 ,user=NAME ,group=NAME), unix:@NAME,\n"
    "                        fd:N, systemd or systemd:NAME (socket activation); port 0 picks one;\n"
    "                        may be repeated (RILLE_LISTEN; default what systemd passed, else\n"
    "                        127.0.0.1:8000). With ,proxy connections begin with a PROXY header,\n"
    "                        of v1 or v2, and only those of --trusted-proxy are taken\n"
    "                        With tls: in front (tls:0.0.0.0:8443) it speaks TLS, which wants\n"
    "  --tls-cert FILE       the certificate and its chain in PEM (RILLE_TLS_CERT), and\n"
    "  --tls-key FILE        its key (RILLE_TLS_KEY; RILLE_TLS_PASSPHRASE). Both may be repeated,\n"
    "                        in pairs; the first is for those who ask for no known name\n"
    "  --tls-min-version V   1.2 (default) or 1.3\n"
    "  --tls-client-ca FILE  ask clients for a certificate that one of these vouches for\n"
    "  --tls-clients HOW     required (default) or optional: what if they have none\n"
    "  --admin ADDR          /metrics, /healthz and /readyz at an address of their own, in any "
    "form\n"
    "                        of --listen (RILLE_ADMIN; default none)\n"
    "  --control PATH        where `rille status`, reload and attach reach this process: a Unix\n"
    "                        socket for its user alone (else PATH,mode=0660 ,user= ,group=), or "
    "off\n"
    "                        (RILLE_CONTROL; default one named after APP in "
    "$XDG_RUNTIME_DIR/rille,\n"
    "                        /run/rille or /tmp/rille-UID)\n"
    "  --trusted-proxy NET   believe its Forwarded, X-Forwarded-* and PROXY headers: an\n"
    "                        address, a network (10.0.0.0/8), loopback, private or unix; may be\n"
    "                        repeated, or several with commas between (RILLE_TRUSTED_PROXIES;\n"
    "                        default nobody's)\n"
    "  --root-path PATH      routes are below it, as a proxy sees them (RILLE_ROOT_PATH)\n"
    "  --database URL        postgresql://… or sqlite:PATH (DATABASE_URL; default sqlite:rille.db\n"
    "                        beside the script)\n"
    "  --layer URL           memory: (default), or what joins several processes (RILLE_LAYER)\n"
    "  --mqtt URL            the broker: mqtt://user:password@host:1883 or mqtts://…\n"
    "                        (RILLE_MQTT; default none)\n"
    "  --only-channels NAMES receive from these background channels (commas between), and do "
    "nothing\n"
    "                        else: no addresses, timers, notifications\n"
    "  --no-channels         receive from no background channel\n"
    "  --migrate             bring tables up to date before serving, also on PostgreSQL\n"
    "  --watch               reload when a file of the script changes\n"
    "  --workers N           threads that serve, each with a Lua state of its own (default: the\n"
    "                        cores; rille dev: 1; RILLE_WORKERS)\n"
    "  --drain-timeout S     seconds for connections to end on SIGTERM (default 10)\n"
    "  --drain-jitter S      seconds over which WebSockets are closed, at most, and 10 ms for "
    "each,\n"
    "                        so that not all come back at once (default half of --drain-timeout)\n"
    "  --drain-code C        what they are told: 1001, going away (default), or 1012, a restart\n"
    "  --limit NAME=VALUE    one of the limits in README; may be repeated (RILLE_LIMITS, by "
    "commas)\n"
    "  --memory-limit MIB    of Lua's heap, for each worker (default 512)\n"
    "  --no-access-log       do not log requests\n";

static const char common_options[] =
    "  --log-level L         debug, info, warn, error or off (default info; RILLE_LOG_LEVEL)\n"
    "  --log-format F        text or json (default text)\n";

const rl_command_text *rl_command_find(const char *name)
{
    for (size_t i = 0; i < RL_COUNT(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* Its first paragraph. */
static void print_summary(const rl_command_text *cmd)
{
    const char *end = strstr(cmd->summary, "\n\n");
    int n = end ? (int)(end - cmd->summary) : (int)strlen(cmd->summary);

    printf("  %-14s %.*s\n", cmd->name, n, cmd->summary);
}

void rl_command_help(const char *name)
{
    const rl_command_text *cmd = name ? rl_command_find(name) : NULL;

    if (cmd) {
        printf("usage: rille %s %s\n\n%s\n", cmd->name, cmd->args, cmd->summary);
        if (cmd->serves)
            printf("\n%s%s\nAPP is a .lua file or a folder with app.lua.\n", server_options,
                   common_options);
        return;
    }
    printf("usage: rille COMMAND …\n\nConsumers in Lua on a C core.\n\n");
    for (size_t i = 0; i < RL_COUNT(commands); i++)
        print_summary(&commands[i]);
    printf("\n`rille help COMMAND` tells more.\n");
}
