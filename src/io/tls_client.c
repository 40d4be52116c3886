#include "io/tls_client.h"

#include "base/address.h"
#include "io/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

struct rl_tls_client {
    SSL_CTX *ctx;
    char *name;
    bool unverified;
};

static int fail(rl_err *err, const char *what, const char *file)
{
    return rl_err_set(err, RL_ESYNTAX, "TLS: %s %s: %s", what, file, rl_tls_complaint());
}

static int set_trust(SSL_CTX *ctx, const rl_tls_client_config *config, rl_err *err)
{
    if (config->unverified)
        return 0;
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    if (config->ca && SSL_CTX_load_verify_file(ctx, config->ca) != 1)
        return fail(err, "cannot use the authorities in", config->ca);
    if (!config->ca && SSL_CTX_set_default_verify_paths(ctx) != 1)
        return fail(err, "cannot use", "the system's authorities");
    return 0;
}

static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    return -1; /* and do not ask at the terminal */
}

static int set_own(SSL_CTX *ctx, const rl_tls_client_config *config, rl_err *err)
{
    const char *key = config->key ? config->key : config->cert;

    if (!config->cert)
        return 0;
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    if (SSL_CTX_use_certificate_chain_file(ctx, config->cert) != 1)
        return fail(err, "cannot use the certificate", config->cert);
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        return fail(err, "cannot use the key", key);
    return 0;
}

int rl_tls_client_open(rl_tls_client **out, const rl_tls_client_config *config, rl_err *err)
{
    rl_tls_client *tls = rl_calloc(1, sizeof(*tls));

    ERR_clear_error();
    tls->ctx = SSL_CTX_new(TLS_client_method());
    RL_CHECK(tls->ctx != NULL);
    tls->name = rl_strdup(config->name);
    tls->unverified = config->unverified;
    rl_tls_set_rules(tls->ctx);
    if (set_trust(tls->ctx, config, err) < 0 || set_own(tls->ctx, config, err) < 0) {
        rl_tls_client_close(tls);
        return err->code;
    }
    *out = tls;
    return 0;
}

void rl_tls_client_close(rl_tls_client *tls)
{
    if (!tls)
        return;
    SSL_CTX_free(tls->ctx);
    rl_free(tls->name);
    rl_free(tls);
}

/* An address is looked for among the certificate's addresses, and is no name to ask for (RFC 6066
 * section 3). */
SSL *rl_tls_client_new_ssl(rl_tls_client *tls)
{
    SSL *ssl = SSL_new(tls->ctx);
    rl_address address;

    RL_CHECK(ssl != NULL);
    if (!tls->name)
        return ssl;
    bool numeric = rl_address_parse(&address, rl_str_of(tls->name));
    if (!numeric)
        SSL_set_tlsext_host_name(ssl, tls->name);
    if (tls->unverified)
        return ssl;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    RL_CHECK((numeric ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), tls->name)
                      : SSL_set1_host(ssl, tls->name)) == 1);
    return ssl;
}

SSL_CTX *rl_tls_client_context(rl_tls_client *tls)
{
    return tls->ctx;
}
