#include "host/settings.h"

#include "base/networks.h"

#include "core/crew.h"

#include <stdlib.h>
#include <string.h>

/* One wrong word, in a sentence that has room for it. */
static int wrong(const rl_settings *s, rl_err *err, const char *what, const char *word)
{
    return rl_err_set(err, RL_ESYNTAX, "%s '%s' (see `rille help%s%s`)", what, word,
                      s->help_for ? " " : "", s->help_for ? s->help_for : "");
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
        return wrong(s, err, "a log level is debug, info, warn, error or off, not", name);
    s->log_level = (rl_log_level)level;
    return 0;
}

static int set_workers(rl_settings *s, const char *what, const char *text, rl_err *err)
{
    double n = 1;
    int rc = to_number(what, text, 1, RL_MAX_WORKERS, &n, err);

    if (rc == 0 && n != (double)(unsigned)n)
        return wrong(s, err, "a whole number of workers, not", text);
    s->workers = (unsigned)n;
    return rc;
}

static int set_drain_code(rl_settings *s, const char *code, rl_err *err)
{
    if (strcmp(code, "1001") != 0 && strcmp(code, "1012") != 0)
        return wrong(s, err, "--drain-code is 1001 or 1012, not", code);
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
        return wrong(s, err, "--log-format is text or json, not", value);
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
        return equals ? wrong(s, err, "no value is taken by", flag) : 0;
    if (!is_valued(flag))
        return wrong(s, err, "unknown option", flag);
    if (equals)
        return read_valued(s, flag, equals + 1, err);
    if (*i + 1 == argc)
        return wrong(s, err, "a value is missing behind", flag);
    return read_valued(s, flag, argv[++*i], err);
}

static const char *from_environment(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

static int finish_send(rl_settings *s, const rl_command_text *cmd, rl_err *err)
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
            return wrong(s, err, "a group and a message, not also", word);
        s->send[s->nrest++] = word;
        return 0;
    }
    if (s->app)
        return wrong(s, err, "one application, not also", word);
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

static int finish(rl_settings *s, const rl_command_text *cmd, rl_err *err)
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

static int ask_for_help(rl_settings *s)
{
    s->command = RL_CMD_HELP;
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

    const rl_command_text *cmd =
        rl_command_find(strcmp(argv[1], "--version") ? argv[1] : "version");
    if (!cmd)
        return wrong(s, err, "unknown command", argv[1]);
    s->command = cmd->id;
    s->help_for = cmd->name;
    if (cmd->id == RL_CMD_TEST)
        s->log_level = RL_LOG_WARN;
    const char *level = from_environment("RILLE_LOG_LEVEL");
    if (level && set_level(s, level, err) < 0)
        return err->code;

    switch (cmd->id) {
    case RL_CMD_VERSION:
        return argc > 2 ? wrong(s, err, "unknown argument", argv[2]) : 0;
    case RL_CMD_HELP:
        s->help_for = NULL;
        if (argc == 2)
            return 0;
        if (!rl_command_find(argv[2]))
            return wrong(s, err, "unknown command", argv[2]);
        s->help_for = argv[2];
        return 0;
    case RL_CMD_TEST:
        for (int i = 2; i < argc; i++)
            if (is_help(argv[i]))
                return ask_for_help(s);
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
            return ask_for_help(s);
        int rc = read_word(s, argc, argv, &i, err);
        if (rc < 0)
            return rc;
    }
    return finish(s, cmd, err);
}
