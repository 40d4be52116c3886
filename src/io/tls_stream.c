#include "io/tls_stream.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

/* Beside its content: five bytes of head, and at most an explicit nonce and a tag. */
enum { RECORD_OVERHEAD = 64 };

static const char PLAIN_HTTP[] =
    "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n"
    "content-length: 45\r\nconnection: close\r\n\r\nThis port speaks TLS: use https:// or wss://\n";

/* OpenSSL's view of our buffers */

static int bio_write(BIO *bio, const char *p, size_t n, size_t *written)
{
    rl_tls_stream *s = BIO_get_data(bio);

    rl_buf_add(&s->out, p, n);
    *written = n;
    return 1;
}

static int bio_read(BIO *bio, char *into, size_t n, size_t *got)
{
    rl_tls_stream *s = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (s->nin == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    n = n < s->nin ? n : s->nin;
    memcpy(into, s->in, n);
    s->in += n;
    s->nin -= n;
    *got = n;
    return 1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *ptr)
{
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *method;

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "rille");
    RL_CHECK(method != NULL);
    BIO_meth_set_write_ex(method, bio_write);
    BIO_meth_set_read_ex(method, bio_read);
    BIO_meth_set_ctrl(method, bio_ctrl);
}

static void init(rl_tls_stream *s, SSL *ssl)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, make_method);
    *s = (rl_tls_stream){.ssl = ssl};
    BIO *bio = BIO_new(method);
    RL_CHECK(bio != NULL);
    BIO_set_data(bio, s);
    BIO_set_init(bio, 1);
    SSL_set_bio(s->ssl, bio, bio);
}

void rl_tls_stream_init(rl_tls_stream *s, rl_tls *tls)
{
    init(s, rl_tls_new_ssl(tls));
    SSL_set_accept_state(s->ssl);
}

void rl_tls_stream_init_client(rl_tls_stream *s, rl_tls_client *tls)
{
    init(s, rl_tls_client_new_ssl(tls));
    SSL_set_connect_state(s->ssl);
}

void rl_tls_stream_fini(rl_tls_stream *s)
{
    SSL_free(s->ssl);
    rl_buf_fini(&s->out);
    ERR_clear_error();
}

/* What a call that did not succeed means. */
static int judge(rl_tls_stream *s, int rc)
{
    switch (SSL_get_error(s->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        s->ended = true;
        return RL_ECLOSED;
    default:
        break;
    }
    int reason = ERR_GET_REASON(ERR_peek_error());
    if (!s->open && (reason == SSL_R_HTTP_REQUEST || reason == SSL_R_HTTPS_PROXY_REQUEST)) {
        rl_buf_clear(&s->out);
        rl_buf_add(&s->out, PLAIN_HTTP, sizeof(PLAIN_HTTP) - 1);
    }
    s->why = rl_tls_complaint();
    long verdict = SSL_get_verify_result(s->ssl);
    if (!s->open && !SSL_is_server(s->ssl) && verdict != X509_V_OK)
        s->why = X509_verify_cert_error_string(verdict);
    s->broken = true;
    return RL_EPROTO;
}

int rl_tls_stream_handshake(rl_tls_stream *s)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(s->ssl);
    if (rc != 1)
        return judge(s, rc) == RL_ECLOSED ? RL_EPROTO : s->broken ? RL_EPROTO : 0;
    s->open = true;
    return 1;
}

int rl_tls_stream_read(rl_tls_stream *s, char *into, size_t n)
{
    if (s->ended)
        return RL_ECLOSED;
    if (s->broken)
        return RL_EPROTO;
    ERR_clear_error();
    int rc = SSL_read(s->ssl, into, (int)n);
    return rc > 0 ? rc : judge(s, rc);
}

void rl_tls_stream_seal(rl_tls_stream *s, const char *p, size_t n)
{
    if (s->broken || s->said)
        return;
    rl_buf_reserve(&s->out, n + (n / RL_TLS_RECORD_MAX + 1) * RECORD_OVERHEAD);
    ERR_clear_error();
    int rc = SSL_write(s->ssl, p, (int)n);
    if (rc <= 0)
        judge(s, rc);
}

void rl_tls_stream_end(rl_tls_stream *s)
{
    if (!s->open || s->said || s->broken)
        return;
    s->said = true;
    ERR_clear_error();
    SSL_shutdown(s->ssl);
    ERR_clear_error();
}

void rl_tls_stream_describe(const rl_tls_stream *s, rl_tls_facts *out)
{
    const unsigned char *alpn;
    unsigned nalpn;
    X509 *client = SSL_get0_peer_certificate(s->ssl);

    *out = (rl_tls_facts){
        .version = SSL_get_version(s->ssl),
        .cipher = SSL_get_cipher_name(s->ssl),
        .server_name = SSL_get_servername(s->ssl, TLSEXT_NAMETYPE_host_name),
        .resumed = SSL_session_reused(s->ssl),
    };
    SSL_get0_alpn_selected(s->ssl, &alpn, &nalpn);
    out->alpn = (rl_str){(const char *)alpn, nalpn};
    if (!client)
        return;
    BIO *text = BIO_new(BIO_s_mem());
    X509_NAME_print_ex(text, X509_get_subject_name(client), 0, XN_FLAG_RFC2253);
    int n = BIO_read(text, out->client_name, sizeof(out->client_name) - 1);
    out->client_name[n > 0 ? n : 0] = '\0';
    BIO_free(text);
}
