#include "host/settings.h"

#include "base/networks.h"

#include "core/crew.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct command {
    const char *name;
    rl_command id;
    const char *args;
    const char *summary;
    bool serves; /* takes the options of a server */
} commands[] = {
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
    {"check", RL_CMD_CHECK, "APP", "load and validate, serve nothing", false},
    {"routes", RL_CMD_ROUTES, "APP", "print the routes", false},
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
    {"shell", RL_CMD_SHELL, "APP [--database URL] …",
     "load an application, serve nothing, and run what you type in it", false},
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

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < RL_COUNT(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* Its first paragraph. */
static void print_summary(const struct command *cmd)
{
    const char *end = strstr(cmd->summary, "\n\n");
    int n = end ? (int)(end - cmd->summary) : (int)strlen(cmd->summary);

    printf("  %-14s %.*s\n", cmd->name, n, cmd->summary);
}

void rl_settings_help(const char *name)
{
    const struct command *cmd = name ? find_command(name) : NULL;

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

/* One wrong word, in a sentence that has room for it. */
static int wrong(rl_err *err, const char *what, const char *word)
{
    return rl_err_set(err, RL_ESYNTAX, "%s '%s' (see `rille help`)", what, word);
}

static int to_number(const char *flag, const char *text, double min, double max, double *out,
                     rl_err *err)
{
    char *end;

    *out = strtod(text, &end);
    if (end == text || *end || !(*out >= min && *out <= max))
        return rl_err_set(err, RL_ESYNTAX, "%s: a number from %g to %g expected, got '%s'", flag,
                          min, max, text);
    return 0;
}

static int add_address(rl_settings *s, const char *address, rl_err *err)
{
    if (s->nlisten == RL_MAX_ADDRESSES)
        return rl_err_set(err, RL_ESYNTAX, "more than %d addresses", RL_MAX_ADDRESSES);
    s->listen[s->nlisten++] = address;
    return 0;
}

static int add_limit(rl_settings *s, const char *text, rl_err *err)
{
    if (s->nlimits == RL_MAX_LIMITS)
        return rl_err_set(err, RL_ESYNTAX, "more than %d limits", RL_MAX_LIMITS);
    s->limits[s->nlimits++] = text;
    return 0;
}

static int set_level(rl_settings *s, const char *name, rl_err *err)
{
    int level = rl_log_level_named(name);

    if (level < 0)
        return wrong(err, "a log level is debug, info, warn, error or off, not", name);
    s->log_level = (rl_log_level)level;
    return 0;
}

static int set_workers(rl_settings *s, const char *what, const char *text, rl_err *err)
{
    double n = 1;
    int rc = to_number(what, text, 1, RL_MAX_WORKERS, &n, err);

    if (rc == 0 && n != (double)(unsigned)n)
        return wrong(err, "a whole number of workers, not", text);
    s->workers = (unsigned)n;
    return rc;
}

static int set_drain_code(rl_settings *s, const char *code, rl_err *err)
{
    if (strcmp(code, "1001") != 0 && strcmp(code, "1012") != 0)
        return wrong(err, "--drain-code is 1001 or 1012, not", code);
    s->drain_code = (uint16_t)atoi(code);
    return 0;
}

static bool is_switch(rl_settings *s, const char *flag)
{
    if (strcmp(flag, "--watch") == 0)
        s->watch = true;
    else if (strcmp(flag, "--migrate") == 0)
        s->migrate = true;
    else if (strcmp(flag, "--no-channels") == 0)
        s->no_channels = true;
    else if (strcmp(flag, "--json") == 0)
        s->json = true;
    else if (strcmp(flag, "--no-access-log") == 0)
        s->access_log = false;
    else
        return false;
    return true;
}

static const char *const valued[] = {
    "--program",      "--worker",        "--only-channels", "--listen",  "--admin",
    "--database",     "--control",       "--layer",         "--workers", "--drain-timeout",
    "--drain-jitter", "--drain-code",    "--memory-limit",  "--limit",   "--log-level",
    "--log-format",   "--trusted-proxy", "--root-path",     "--mqtt"};

static bool is_valued(const char *flag)
{
    if (rl_tls_wish_is(flag))
        return true;
    for (size_t i = 0; i < RL_COUNT(valued); i++)
        if (strcmp(flag, valued[i]) == 0)
            return true;
    return false;
}

static int set_trusted(rl_settings *s, const char *flag, const char *words, rl_err *err)
{
    rl_networks set = {0};
    rl_err why;
    int rc = rl_networks_add(&set, rl_str_of(words), &why);

    rl_networks_fini(&set);
    if (rc < 0)
        return rl_err_set(err, RL_ESYNTAX, "%s: %s", flag, why.msg);
    if (s->ntrusted == RL_MAX_ADDRESSES)
        return rl_err_set(err, RL_ESYNTAX, "%s: more than %d times", flag, RL_MAX_ADDRESSES);
    s->trusted[s->ntrusted++] = words;
    return 0;
}

static int read_valued(rl_settings *s, const char *flag, const char *value, rl_err *err)
{
    if (strcmp(flag, "--listen") == 0) {
        return add_address(s, value, err);
    } else if (rl_tls_wish_is(flag)) {
        return rl_tls_wish(&s->tls, flag, value, err);
    } else if (strcmp(flag, "--admin") == 0) {
        s->admin = value;
    } else if (strcmp(flag, "--program") == 0) {
        s->program = value;
    } else if (strcmp(flag, "--worker") == 0) {
        s->worker = value;
    } else if (strcmp(flag, "--control") == 0) {
        s->control = value;
    } else if (strcmp(flag, "--database") == 0) {
        s->database = value;
    } else if (strcmp(flag, "--only-channels") == 0) {
        s->only_channels = value;
    } else if (strcmp(flag, "--layer") == 0) {
        s->layer = value;
    } else if (strcmp(flag, "--mqtt") == 0) {
        s->mqtt = value;
    } else if (strcmp(flag, "--trusted-proxy") == 0) {
        return set_trusted(s, flag, value, err);
    } else if (strcmp(flag, "--root-path") == 0) {
        s->root_path = value;
    } else if (strcmp(flag, "--workers") == 0) {
        return set_workers(s, flag, value, err);
    } else if (strcmp(flag, "--drain-timeout") == 0) {
        return to_number(flag, value, 0, 86400, &s->drain_timeout, err);
    } else if (strcmp(flag, "--drain-jitter") == 0) {
        return to_number(flag, value, 0, 86400, &s->drain_jitter, err);
    } else if (strcmp(flag, "--drain-code") == 0) {
        return set_drain_code(s, value, err);
    } else if (strcmp(flag, "--memory-limit") == 0) {
        return to_number(flag, value, 8, 1 << 20, &s->memory_limit, err);
    } else if (strcmp(flag, "--limit") == 0) {
        return add_limit(s, value, err);
    } else if (strcmp(flag, "--log-level") == 0) {
        return set_level(s, value, err);
    } else if (strcmp(value, "json") == 0) {
        s->log_format = RL_LOG_JSON;
    } else if (strcmp(value, "text") != 0) {
        return wrong(err, "--log-format is text or json, not", value);
    }
    return 0;
}

/* argv[*i] is an option, alone, as --flag=value or with its value behind it. */
static int read_option(rl_settings *s, int argc, char **argv, int *i, rl_err *err)
{
    char *flag = argv[*i], *equals = strchr(flag, '=');

    if (equals)
        *equals = '\0';
    if (is_switch(s, flag))
        return equals ? wrong(err, "no value is taken by", flag) : 0;
    if (!is_valued(flag))
        return wrong(err, "unknown option", flag);
    if (equals)
        return read_valued(s, flag, equals + 1, err);
    if (*i + 1 == argc)
        return wrong(err, "a value is missing behind", flag);
    return read_valued(s, flag, argv[++*i], err);
}

static const char *from_environment(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

static int finish_send(rl_settings *s, const struct command *cmd, rl_err *err)
{
    if (s->nrest != (int)RL_COUNT(s->send))
        return rl_err_set(err, RL_ESYNTAX, "usage: rille send %s", cmd->args);
    if (s->layer && strcmp(s->layer, "memory:") == 0)
        s->layer = NULL; /* one process's own */
    if (!s->layer && !s->admin)
        return rl_err_set(
            err, RL_ESYNTAX,
            "where to? --admin ADDR of a running server, or --layer URL of what joins "
            "several (RILLE_ADMIN, RILLE_LAYER)");
    s->rest = s->send;
    return 0;
}

/* A word that belongs to no option. */
static int add_word(rl_settings *s, char *word, rl_err *err)
{
    if (s->command == RL_CMD_SEND) {
        if (s->nrest == (int)RL_COUNT(s->send))
            return wrong(err, "a group and a message, not also", word);
        s->send[s->nrest++] = word;
        return 0;
    }
    if (s->app)
        return wrong(err, "one application, not also", word);
    s->app = word;
    return 0;
}

static bool needs_app(rl_command command)
{
    switch (command) {
    case RL_CMD_TEST:
    case RL_CMD_TOOL:
    case RL_CMD_ATTACH:
    case RL_CMD_STATUS:
    case RL_CMD_RELOAD:
    case RL_CMD_ROLLBACK:
    case RL_CMD_PROMOTE:
    case RL_CMD_UPGRADE:
        return false;
    default:
        return true;
    }
}

static int finish(rl_settings *s, const struct command *cmd, rl_err *err)
{
    const char *listen = from_environment("RILLE_LISTEN");
    const char *workers = from_environment("RILLE_WORKERS");

    if (!s->nlisten && listen)
        s->listen[s->nlisten++] = listen;
    rl_tls_wish_environment(&s->tls);
    if (!s->root_path)
        s->root_path = from_environment("RILLE_ROOT_PATH");
    const char *trusted = from_environment("RILLE_TRUSTED_PROXIES");
    if (!s->ntrusted && trusted && set_trusted(s, "RILLE_TRUSTED_PROXIES", trusted, err) < 0)
        return err->code;
    if (!s->admin)
        s->admin = from_environment("RILLE_ADMIN");
    if (!s->control)
        s->control = from_environment("RILLE_CONTROL");
    if (!s->database)
        s->database = from_environment("DATABASE_URL");
    if (!s->layer)
        s->layer = from_environment("RILLE_LAYER");
    if (!s->mqtt)
        s->mqtt = from_environment("RILLE_MQTT");
    if (cmd->id == RL_CMD_SEND)
        return finish_send(s, cmd, err);
    if (!needs_app(cmd->id))
        return 0;
    if (!s->app)
        return rl_err_set(err, RL_ESYNTAX, "which application? usage: rille %s %s", cmd->name,
                          cmd->args);
    if (!s->workers && workers && cmd->id == RL_CMD_RUN)
        return set_workers(s, "RILLE_WORKERS", workers, err);
    return 0;
}

/* What is ours of a tool's words is read here, the others are for it. */
static int keep_word(rl_settings *s, int argc, char **argv, int *i, rl_err *err)
{
    static const char *const ours[] = {"--log-level", "--log-format"};

    for (size_t k = 0; k < RL_COUNT(ours); k++) {
        size_t n = strlen(ours[k]);
        if (strncmp(argv[*i], ours[k], n) == 0 && (!argv[*i][n] || argv[*i][n] == '='))
            return read_option(s, argc, argv, i, err);
    }
    s->rest[s->nrest++] = argv[*i];
    return 0;
}

static int read_word(rl_settings *s, int argc, char **argv, int *i, rl_err *err)
{
    if (s->command == RL_CMD_TOOL)
        return keep_word(s, argc, argv, i, err);
    return argv[*i][0] == '-' ? read_option(s, argc, argv, i, err) : add_word(s, argv[*i], err);
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static int ask_for_help(rl_settings *s, const struct command *cmd)
{
    s->command = RL_CMD_HELP;
    s->help_for = cmd->name;
    return 0;
}

int rl_settings_read(rl_settings *s, int argc, char **argv, rl_err *err)
{
    *s = (rl_settings){.log_level = RL_LOG_INFO,
                       .drain_timeout = 10,
                       .drain_jitter = -1,
                       .drain_code = 1001,
                       .access_log = true};
    if (argc < 2 || is_help(argv[1]))
        return 0;

    const struct command *cmd = find_command(strcmp(argv[1], "--version") ? argv[1] : "version");
    if (!cmd)
        return wrong(err, "unknown command", argv[1]);
    s->command = cmd->id;
    if (cmd->id == RL_CMD_TEST)
        s->log_level = RL_LOG_WARN;
    const char *level = from_environment("RILLE_LOG_LEVEL");
    if (level && set_level(s, level, err) < 0)
        return err->code;

    switch (cmd->id) {
    case RL_CMD_VERSION:
        return argc > 2 ? wrong(err, "unknown argument", argv[2]) : 0;
    case RL_CMD_HELP:
        s->help_for = argc > 2 ? argv[2] : NULL;
        return s->help_for && !find_command(s->help_for) ? wrong(err, "unknown command", argv[2])
                                                         : 0;
    case RL_CMD_TEST:
        for (int i = 2; i < argc; i++)
            if (is_help(argv[i]))
                return ask_for_help(s, cmd);
        s->rest = argv + 2;
        s->nrest = argc - 2;
        return finish(s, cmd, err);
    case RL_CMD_TOOL:
        s->rest = argv + 1;
        s->nrest = 1;
        break;
    default:
        break;
    }
    const char *limits = from_environment("RILLE_LIMITS"); /* first, so that a flag is stronger */
    if (limits && add_limit(s, limits, err) < 0)
        return err->code;
    for (int i = 2; i < argc; i++) {
        if (is_help(argv[i]))
            return ask_for_help(s, cmd);
        int rc = read_word(s, argc, argv, &i, err);
        if (rc < 0)
            return rc;
    }
    return finish(s, cmd, err);
}
