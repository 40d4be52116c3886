#include "io/tls_broker.h"

#include "base/address.h"
#include "io/tls_client.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

struct rl_tls_broker {
    rl_tls_client *client;
    char *name; /* NULL: it is an address, and no name to ask for (RFC 6066 section 3) */
};

/* libmosquitto asks for what it was told to connect to, an address: set that right. */
static void on_progress(const SSL *ssl, int where, int value)
{
    rl_tls_broker *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    if (where & SSL_CB_HANDSHAKE_START)
        SSL_set_tlsext_host_name((SSL *)ssl, tls->name);
}

static void set_name(rl_tls_broker *tls, const char *name)
{
    SSL_CTX *ctx = rl_tls_client_context(tls->client);
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(ctx);
    rl_address address;
    bool numeric = rl_address_parse(&address, rl_str_of(name));

    RL_CHECK((numeric ? X509_VERIFY_PARAM_set1_ip_asc(param, name)
                      : X509_VERIFY_PARAM_set1_host(param, name, 0)) == 1);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    tls->name = numeric ? NULL : rl_strdup(name);
    SSL_CTX_set_app_data(ctx, tls);
    SSL_CTX_set_info_callback(ctx, on_progress);
}

int rl_tls_broker_open(rl_tls_broker **out, const char *name, const char *ca, const char *cert,
                       const char *key, rl_err *err)
{
    const rl_tls_client_config config = {.ca = ca, .cert = cert, .key = key, .name = name};
    rl_tls_broker *tls = rl_calloc(1, sizeof(*tls));
    int rc = rl_tls_client_open(&tls->client, &config, err);

    if (rc < 0) {
        rl_free(tls);
        return rc;
    }
    set_name(tls, name);
    *out = tls;
    return 0;
}

void rl_tls_broker_close(rl_tls_broker *tls)
{
    if (!tls)
        return;
    rl_tls_client_close(tls->client);
    rl_free(tls->name);
    rl_free(tls);
}

void *rl_tls_broker_context(rl_tls_broker *tls)
{
    return rl_tls_client_context(tls->client);
}

void rl_tls_broker_say(void *ssl, const char *p, int n)
{
    ERR_clear_error();
    SSL_write(ssl, p, n);
    ERR_clear_error();
}
