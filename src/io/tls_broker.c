#include "io/tls_broker.h"

#include "base/address.h"
#include "io/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

struct rl_tls_broker {
    SSL_CTX *ctx;
    char *name; /* NULL: it is an address, and no name to ask for (RFC 6066 section 3) */
};

static int fail(rl_err *err, const char *what, const char *file)
{
    return rl_err_set(err, RL_ESYNTAX, "TLS: %s %s: %s", what, file, rl_tls_complaint());
}

static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    return -1; /* and do not ask at the terminal */
}

static int set_files(SSL_CTX *ctx, const char *ca, const char *cert, const char *key, rl_err *err)
{
    if (ca && SSL_CTX_load_verify_file(ctx, ca) != 1)
        return fail(err, "cannot use the authorities in", ca);
    if (!ca && SSL_CTX_set_default_verify_paths(ctx) != 1)
        return fail(err, "cannot use", "the system's authorities");
    if (!cert)
        return 0;
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
        return fail(err, "cannot use the certificate", cert);
    if (SSL_CTX_use_PrivateKey_file(ctx, key ? key : cert, SSL_FILETYPE_PEM) != 1)
        return fail(err, "cannot use the key", key ? key : cert);
    return 0;
}

/* libmosquitto asks for what it was told to connect to, an address: set that right. */
static void on_progress(const SSL *ssl, int where, int value)
{
    rl_tls_broker *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    if (where & SSL_CB_HANDSHAKE_START)
        SSL_set_tlsext_host_name((SSL *)ssl, tls->name);
}

static void set_name(rl_tls_broker *tls, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(tls->ctx);
    rl_address address;
    bool numeric = rl_address_parse(&address, rl_str_of(name));

    RL_CHECK((numeric ? X509_VERIFY_PARAM_set1_ip_asc(param, name)
                      : X509_VERIFY_PARAM_set1_host(param, name, 0)) == 1);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    tls->name = numeric ? NULL : rl_strdup(name);
    SSL_CTX_set_app_data(tls->ctx, tls);
    SSL_CTX_set_info_callback(tls->ctx, on_progress);
}

int rl_tls_broker_open(rl_tls_broker **out, const char *name, const char *ca, const char *cert,
                       const char *key, rl_err *err)
{
    rl_tls_broker *tls = rl_calloc(1, sizeof(*tls));

    ERR_clear_error();
    tls->ctx = SSL_CTX_new(TLS_client_method());
    RL_CHECK(tls->ctx != NULL);
    SSL_CTX_set_min_proto_version(tls->ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(tls->ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(tls->ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(tls->ctx, SSL_VERIFY_PEER, NULL);
    if (set_files(tls->ctx, ca, cert, key, err) < 0) {
        rl_tls_broker_close(tls);
        return err->code;
    }
    set_name(tls, name);
    *out = tls;
    return 0;
}

void rl_tls_broker_close(rl_tls_broker *tls)
{
    if (!tls)
        return;
    SSL_CTX_free(tls->ctx);
    rl_free(tls->name);
    rl_free(tls);
}

void *rl_tls_broker_context(rl_tls_broker *tls)
{
    return tls->ctx;
}

void rl_tls_broker_say(void *ssl, const char *p, int n)
{
    ERR_clear_error();
    SSL_write(ssl, p, n);
    ERR_clear_error();
}
