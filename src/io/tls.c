/* tls.c - certificates into contexts.
 *
 * A site is a certificate with its key, as an SSL_CTX. The first one is the set's entrance: every
 * SSL begins with it, and the name that the client asks for may move it to another. The set hangs
 * on the entrance and lives as long: an SSL keeps a reference of the context it began with. */
#include "io/tls.h"

#include "base/log.h"
#include "io/tls_tickets.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <unistd.h>

/* Ephemeral ECDH only: finite fields would want parameters, and cost the server more. */
static const char CIPHERS_12[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                 "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                 "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char GROUPS[] = "X25519:P-256:P-384";

enum {
    CACHED_SESSIONS = 1024, /* of TLS 1.2 clients that know no tickets */
    TICKETS_AT_ONCE = 2,    /* a browser opens several connections */
};

struct site_set {
    SSL_CTX *sites[RL_TLS_MAX_PAIRS]; /* the first is the owner, not owned */
    unsigned nsites;
    rl_tls *tls;
};

struct rl_tls {
    pthread_mutex_t lock;
    SSL_CTX *entrance; /* guarded by lock */
    rl_tickets tickets;
    rl_offload *offload;
};

static int set_index; /* of the entrance's site_set */

static void free_set(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
    struct site_set *set = ptr;

    for (unsigned i = 1; set && i < set->nsites; i++)
        SSL_CTX_free(set->sites[i]);
    rl_free(set);
}

static void make_index(void)
{
    set_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_set);
}

/* What went wrong */

const char *rl_tls_complaint(void)
{
    unsigned long code = ERR_get_error();
    const char *text = ERR_reason_error_string(code);

    if (ERR_SYSTEM_ERROR(code))
        text = strerrordesc_np(ERR_GET_REASON(code));
    ERR_clear_error();
    return text ? text : "no reason given";
}

static int fail(rl_err *err, const char *what, const char *file)
{
    return rl_err_set(err, RL_ESYNTAX, "TLS: %s %s: %s", what, file, rl_tls_complaint());
}

/* During a handshake */

static bool is_for(SSL_CTX *site, const char *name)
{
    return X509_check_host(SSL_CTX_get0_certificate(site), name, 0, 0, NULL) == 1;
}

static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    const struct site_set *set = arg;

    for (unsigned i = 0; name && i < set->nsites; i++)
        if (is_for(set->sites[i], name)) {
            if (i)
                SSL_set_SSL_CTX(ssl, set->sites[i]);
            return SSL_TLSEXT_ERR_OK;
        }
    return SSL_TLSEXT_ERR_NOACK; /* the first certificate, and let the client judge it */
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *n,
                   const unsigned char *offered, unsigned noffered, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen;

    if (SSL_select_next_proto(&chosen, n, ours, sizeof(ours) - 1, offered, noffered) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int seal)
{
    struct site_set *set = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    return rl_tickets_serve(&set->tls->tickets, name, iv, cipher, mac, seal);
}

/* Building a context */

struct passphrase {
    const char *text;
    bool asked;
};

static int on_passphrase(char *buf, int size, int writing, void *arg)
{
    struct passphrase *p = arg;
    size_t n = p->text ? strlen(p->text) : 0;

    p->asked = true;
    if (!p->text || n > (size_t)size)
        return -1;
    memcpy(buf, p->text, n);
    return (int)n;
}

void rl_tls_set_rules(SSL_CTX *ctx)
{
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    RL_CHECK(SSL_CTX_set_cipher_list(ctx, CIPHERS_12) == 1);
    RL_CHECK(SSL_CTX_set1_groups_list(ctx, GROUPS) == 1);
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
}

static void set_server_rules(SSL_CTX *ctx, const rl_tls_config *config)
{
    rl_tls_set_rules(ctx);
    if (config->only_13)
        SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);

    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER);
    SSL_CTX_sess_set_cache_size(ctx, CACHED_SESSIONS);
    SSL_CTX_set_timeout(ctx, RL_TLS_TICKET_SECONDS);
    SSL_CTX_set_num_tickets(ctx, TICKETS_AT_ONCE);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
}

static int read_pair(SSL_CTX *ctx, const rl_tls_config *config, const rl_tls_pair *pair,
                     rl_err *err)
{
    struct passphrase passphrase = {.text = config->passphrase};
    const char *key = pair->key ? pair->key : pair->cert;

    SSL_CTX_set_default_passwd_cb(ctx, on_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, &passphrase);
    if (SSL_CTX_use_certificate_chain_file(ctx, pair->cert) != 1)
        return fail(err, "cannot use the certificate", pair->cert);
    int rc = SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
    /* A key of another kind is taken, for a certificate that may still come. */
    bool fits = rc == 1 && SSL_CTX_check_private_key(ctx) == 1;
    if (fits)
        return 0;
    if (passphrase.asked && !config->passphrase) {
        ERR_clear_error();
        return rl_err_set(err, RL_ESYNTAX,
                          "TLS: the key %s is encrypted: say how in RILLE_TLS_PASSPHRASE", key);
    }
    if (rc == 1 || ERR_GET_REASON(ERR_peek_error()) == X509_R_KEY_VALUES_MISMATCH) {
        ERR_clear_error();
        return rl_err_set(err, RL_ESYNTAX, "TLS: the key %s does not belong to the certificate %s",
                          key, pair->cert);
    }
    return fail(err, "cannot use the key", key);
}

static void warn_of_dates(SSL_CTX *ctx, const char *file)
{
    X509 *cert = SSL_CTX_get0_certificate(ctx);

    if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0)
        rl_warn("TLS: the certificate %s has expired: clients will refuse it", file);
    else if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0)
        rl_warn("TLS: the certificate %s is not valid yet: clients will refuse it", file);
}

/* Whether a session may be resumed depends on who vouched for the client. */
static int set_clients(SSL_CTX *ctx, const rl_tls_config *config, rl_err *err)
{
    unsigned char context[SSL_MAX_SID_CTX_LENGTH] = "rille";
    unsigned char digest[EVP_MAX_MD_SIZE];
    int mode =
        SSL_VERIFY_PEER | (config->clients == RL_TLS_INSIST ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);

    SSL_CTX_set_session_id_context(ctx, context, sizeof(context));
    if (!config->client_ca)
        return 0;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(config->client_ca);
    if (!names || SSL_CTX_load_verify_file(ctx, config->client_ca) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return fail(err, "cannot use the authorities in", config->client_ca);
    }
    SSL_CTX_set_client_CA_list(ctx, names);
    SSL_CTX_set_verify(ctx, mode, NULL);

    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_DigestInit_ex(md, EVP_sha256(), NULL);
    EVP_DigestUpdate(md, &mode, sizeof(mode));
    STACK_OF(X509_OBJECT) *known = X509_STORE_get0_objects(SSL_CTX_get_cert_store(ctx));
    for (int i = 0; i < sk_X509_OBJECT_num(known); i++) {
        X509 *ca = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(known, i));
        if (ca && X509_digest(ca, EVP_sha256(), digest, NULL))
            EVP_DigestUpdate(md, digest, 32);
    }
    EVP_DigestFinal_ex(md, digest, NULL);
    EVP_MD_CTX_free(md);
    memcpy(context, digest, sizeof(context));
    SSL_CTX_set_session_id_context(ctx, context, sizeof(context));
    return 0;
}

static SSL_CTX *new_site(const rl_tls_config *config, const rl_tls_pair *pair, rl_err *err)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    RL_CHECK(ctx != NULL);
    set_server_rules(ctx, config);
    if (read_pair(ctx, config, pair, err) < 0 || set_clients(ctx, config, err) < 0) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    warn_of_dates(ctx, pair->cert);
    return ctx;
}

/* The entrance of a set of all pairs, or NULL. */
static SSL_CTX *new_set(rl_tls *tls, const rl_tls_config *config, rl_err *err)
{
    ERR_clear_error();
    if (config->npairs == 0) {
        rl_err_set(err, RL_ESYNTAX,
                   "TLS needs a certificate: give --tls-cert and --tls-key, or `tls` in the app");
        return NULL;
    }
    SSL_CTX *entrance = new_site(config, &config->pairs[0], err);
    if (!entrance)
        return NULL;

    struct site_set *set = rl_calloc(1, sizeof(*set));
    set->tls = tls;
    set->sites[set->nsites++] = entrance;
    SSL_CTX_set_ex_data(entrance, set_index, set);
    SSL_CTX_set_app_data(entrance, set);
    SSL_CTX_set_tlsext_servername_callback(entrance, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(entrance, set);
    while (set->nsites < config->npairs) {
        SSL_CTX *site = new_site(config, &config->pairs[set->nsites], err);
        if (!site) {
            SSL_CTX_free(entrance);
            return NULL;
        }
        SSL_CTX_set_app_data(site, set);
        set->sites[set->nsites++] = site;
    }
    return entrance;
}

int rl_tls_open(rl_tls **out, const rl_tls_config *config, rl_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    rl_tls *tls = rl_calloc(1, sizeof(*tls));

    pthread_once(&once, make_index);
    pthread_mutex_init(&tls->lock, NULL);
    rl_tickets_init(&tls->tickets);
    tls->entrance = new_set(tls, config, err);
    if (!tls->entrance || rl_offload_open(&tls->offload, err) < 0) {
        rl_tls_close(tls);
        return err->code;
    }
    *out = tls;
    return 0;
}

int rl_tls_reload(rl_tls *tls, const rl_tls_config *config, rl_err *err)
{
    SSL_CTX *entrance = new_set(tls, config, err), *old;

    if (!entrance)
        return err->code;
    pthread_mutex_lock(&tls->lock);
    old = tls->entrance;
    tls->entrance = entrance;
    pthread_mutex_unlock(&tls->lock);
    SSL_CTX_free(old);
    return 0;
}

void rl_tls_close(rl_tls *tls)
{
    if (!tls)
        return;
    rl_offload_close(tls->offload);
    SSL_CTX_free(tls->entrance);
    rl_tickets_fini(&tls->tickets);
    pthread_mutex_destroy(&tls->lock);
    rl_free(tls);
}

rl_offload *rl_tls_offload(rl_tls *tls)
{
    return tls->offload;
}

SSL *rl_tls_new_ssl(rl_tls *tls)
{
    pthread_mutex_lock(&tls->lock);
    SSL *ssl = SSL_new(tls->entrance);
    pthread_mutex_unlock(&tls->lock);
    RL_CHECK(ssl != NULL);
    return ssl;
}
