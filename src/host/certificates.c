#include "host/certificates.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

static int add(const char **list, unsigned *n, const char *flag, const char *value, rl_err *err)
{
    if (*n == RL_TLS_MAX_PAIRS)
        return rl_err_set(err, RL_ESYNTAX, "more than %d times %s", RL_TLS_MAX_PAIRS, flag);
    list[(*n)++] = value;
    return 0;
}

/* One of two words. */
static int choose(const char **out, const char *flag, const char *value, const char *one,
                  const char *other, rl_err *err)
{
    if (strcmp(value, one) && strcmp(value, other))
        return rl_err_set(err, RL_ESYNTAX, "%s is %s or %s, not '%s'", flag, one, other, value);
    *out = value;
    return 0;
}

bool rl_tls_wish_is(const char *flag)
{
    static const char *const ours[] = {"--tls-cert", "--tls-key", "--tls-min-version",
                                       "--tls-client-ca", "--tls-clients"};

    for (size_t i = 0; i < RL_COUNT(ours); i++)
        if (strcmp(flag, ours[i]) == 0)
            return true;
    return false;
}

int rl_tls_wish(rl_tls_wishes *w, const char *flag, const char *value, rl_err *err)
{
    if (strcmp(flag, "--tls-cert") == 0)
        return add(w->certs, &w->ncerts, flag, value, err);
    if (strcmp(flag, "--tls-key") == 0)
        return add(w->keys, &w->nkeys, flag, value, err);
    if (strcmp(flag, "--tls-min-version") == 0)
        return choose(&w->min_version, flag, value, "1.2", "1.3", err);
    if (strcmp(flag, "--tls-clients") == 0)
        return choose(&w->clients, flag, value, "optional", "required", err);
    w->client_ca = value;
    return 0;
}

void rl_tls_wish_environment(rl_tls_wishes *w)
{
    const char *cert = getenv("RILLE_TLS_CERT"), *key = getenv("RILLE_TLS_KEY");

    if (w->ncerts || w->nkeys || !cert || !*cert)
        return;
    w->certs[w->ncerts++] = cert;
    if (key && *key)
        w->keys[w->nkeys++] = key;
}

static const char *either(const char *a, const char *b)
{
    return a ? a : b;
}

/* What the strongest want of each. */
static int decide(rl_tls_config *out, const rl_tls_wishes *asked, const rl_tls_wishes *script,
                  rl_err *err)
{
    const rl_tls_wishes *pairs = asked->ncerts || asked->nkeys ? asked : script;
    const char *min_version = either(asked->min_version, script->min_version);
    const char *clients = either(asked->clients, script->clients);
    const char *passphrase = getenv("RILLE_TLS_PASSPHRASE");

    if (pairs->nkeys && pairs->nkeys != pairs->ncerts)
        return rl_err_set(err, RL_ESYNTAX,
                          "TLS: %u certificates, but %u keys: give a key for each, or for none "
                          "(then each is beside its certificate in one file)",
                          pairs->ncerts, pairs->nkeys);
    *out = (rl_tls_config){
        .npairs = pairs->ncerts,
        .passphrase = passphrase,
        .only_13 = min_version && strcmp(min_version, "1.3") == 0,
        .client_ca = either(asked->client_ca, script->client_ca),
        .clients = clients && strcmp(clients, "optional") == 0 ? RL_TLS_ASK : RL_TLS_INSIST,
    };
    for (unsigned i = 0; i < pairs->ncerts; i++)
        out->pairs[i] = (rl_tls_pair){pairs->certs[i], pairs->nkeys ? pairs->keys[i] : NULL};
    if (clients && !out->client_ca)
        return rl_err_set(err, RL_ESYNTAX,
                          "TLS: clients are to be checked, but nobody is named who may vouch for "
                          "them: see --tls-client-ca");
    return 0;
}

static int configure(rl_tls_config *out, const rl_tls_wishes *asked, const rl_words *words,
                     rl_err *err)
{
    rl_tls_wishes script = {0};

    for (size_t i = 0; i + 1 < words->n; i += 2) {
        int rc = rl_tls_wish(&script, words->list[i], words->list[i + 1], err);
        if (rc < 0)
            return rc;
    }
    return decide(out, asked, &script, err);
}

static void forget(rl_words *words)
{
    while (words->n)
        rl_free(words->list[--words->n]);
    rl_free(words->list);
    words->list = NULL;
}

static void learn(rl_words *words, char *const *list, size_t n)
{
    forget(words);
    words->list = rl_calloc(n, sizeof(*words->list));
    for (; words->n < n; words->n++)
        words->list[words->n] = rl_strdup(list[words->n]);
}

int rl_certificates_open(rl_certificates *cs, const rl_tls_wishes *asked, char *const *words,
                         size_t nwords, rl_err *err)
{
    rl_tls_config config;

    cs->asked = asked;
    learn(&cs->script, words, nwords);
    int rc = configure(&config, asked, &cs->script, err);
    return rc < 0 ? rc : rl_tls_open(&cs->tls, &config, err);
}

void rl_certificates_stage(rl_certificates *cs, char *const *words, size_t nwords)
{
    learn(&cs->staged, words, nwords);
}

void rl_certificates_reload(rl_certificates *cs, bool staged)
{
    rl_tls_config config;
    rl_err err;

    if (staged) {
        forget(&cs->script);
        cs->script = cs->staged;
        cs->staged = (rl_words){0};
    }
    if (!cs->tls)
        return;
    if (configure(&config, cs->asked, &cs->script, &err) < 0 ||
        rl_tls_reload(cs->tls, &config, &err) < 0)
        rl_error("the certificates stay as they were: %s", err.msg);
    else
        rl_info("the certificates were read again");
}

void rl_certificates_close(rl_certificates *cs)
{
    rl_tls_close(cs->tls);
    forget(&cs->script);
    forget(&cs->staged);
    cs->tls = NULL;
}
