/* tls_stream.h and tls_tickets.h: a server's half against OpenSSL's own client, through memory,
 * cut in every way; and the life of a ticket's key. Its argument is spec/support/certificates. */
#include "io/tls_stream.h"
#include "io/tls_tickets.h"
#include "unit.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>

static rl_tls *tls;
static SSL_CTX *client_ctx;

/* A client on memory BIOs, and the server's half. */
struct pair {
    SSL *client;
    rl_tls_stream server;
    size_t cut; /* at most so many bytes are handed over at once */
};

static void open_pair(struct pair *p, int version, size_t cut)
{
    rl_tls_stream_init(&p->server, tls);
    p->cut = cut;
    p->client = SSL_new(client_ctx);
    SSL_set_min_proto_version(p->client, version);
    SSL_set_max_proto_version(p->client, version);
    SSL_set_bio(p->client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(p->client);
}

static void close_pair(struct pair *p)
{
    SSL_free(p->client);
    rl_tls_stream_fini(&p->server);
}

/* What the server has to say, to the client. */
static void carry_back(struct pair *p)
{
    BIO_write(SSL_get_rbio(p->client), p->server.out.data, (int)p->server.out.len);
    rl_buf_clear(&p->server.out);
}

/* The client's next bytes, lent to the server; 0: it has none. */
static size_t carry(struct pair *p, char *room, size_t most)
{
    int n = BIO_read(SSL_get_wbio(p->client), room, (int)(p->cut < most ? p->cut : most));

    p->server.in = room;
    p->server.nin = n > 0 ? (size_t)n : 0;
    return p->server.nin;
}

static int shake(struct pair *p)
{
    char room[4096];
    int rc = 0;

    for (int i = 0; i < 20000 && rc == 0; i++) {
        SSL_do_handshake(p->client);
        if (carry(p, room, sizeof(room)))
            rc = rl_tls_stream_handshake(&p->server);
        carry_back(p);
    }
    SSL_do_handshake(p->client);
    return rc;
}

/* What the client wrote comes out of the server, decrypted in front of where it was received. */
static void expect_received(struct pair *p, const char *want, size_t n)
{
    enum { BACK = RL_TLS_RECORD_MAX + 1024 };
    static char loop[64 * 1024];
    rl_buf got = {0};
    int rc = 0;

    while (carry(p, loop + BACK, sizeof(loop) - BACK)) {
        size_t front = 0;
        while ((rc = rl_tls_stream_read(&p->server, loop + front, sizeof(loop) - front)) > 0)
            front += (size_t)rc;
        CHECK_INT(p->server.nin, 0);
        rl_buf_add(&got, loop, front);
    }
    CHECK_INT(rc, 0);
    CHECK_INT(got.len, n);
    CHECK(got.len == n && memcmp(got.data, want, n) == 0);
    rl_buf_fini(&got);
}

static void test_both_ways(int version, size_t cut)
{
    static const size_t sizes[] = {1, 100, RL_TLS_RECORD_MAX, RL_TLS_RECORD_MAX + 1, 100000};
    static char bytes[100000], back[100000];
    struct pair p;

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i * 7 + i / 251);
    open_pair(&p, version, cut);
    CHECK_INT(shake(&p), 1);
    CHECK(p.server.open);
    for (size_t i = 0; i < RL_COUNT(sizes); i++) {
        CHECK_INT(SSL_write(p.client, bytes, (int)sizes[i]), sizes[i]);
        expect_received(&p, bytes, sizes[i]);
        rl_tls_stream_seal(&p.server, bytes, sizes[i]);
        carry_back(&p);
        size_t got = 0;
        int n;
        while (got < sizes[i] && (n = SSL_read(p.client, back + got, (int)(sizes[i] - got))) > 0)
            got += (size_t)n;
        CHECK_INT(got, sizes[i]);
        CHECK(memcmp(back, bytes, sizes[i]) == 0);
    }

    /* The client ends; the server may go on, and ends, once. */
    char room[256];
    CHECK_INT(SSL_shutdown(p.client), 0);
    int rc = 0;
    while (carry(&p, room, sizeof(room)))
        rc = rl_tls_stream_read(&p.server, back, sizeof(back));
    CHECK_INT(rc, RL_ECLOSED);
    CHECK(p.server.ended && !p.server.broken);
    rl_tls_stream_end(&p.server);
    size_t said = p.server.out.len;
    rl_tls_stream_end(&p.server);
    CHECK(said > 0 && p.server.out.len == said);
    carry_back(&p);
    CHECK_INT(SSL_shutdown(p.client), 1);
    close_pair(&p);
}

static void test_broken_record(void)
{
    struct pair p;
    char room[4096], back[4096];

    open_pair(&p, TLS1_3_VERSION, sizeof(room));
    CHECK_INT(shake(&p), 1);
    SSL_write(p.client, "moon", 4);
    size_t n = carry(&p, room, sizeof(room));
    room[n - 1] ^= 1;
    CHECK_INT(rl_tls_stream_read(&p.server, back, sizeof(back)), RL_EPROTO);
    CHECK(p.server.broken && p.server.why && p.server.out.len > 0);
    CHECK_INT(rl_tls_stream_read(&p.server, back, sizeof(back)), RL_EPROTO);
    n = p.server.out.len;
    rl_tls_stream_seal(&p.server, "x", 1); /* nothing more is said */
    rl_tls_stream_end(&p.server);
    CHECK_INT(p.server.out.len, n);
    close_pair(&p);
}

static int first_words(const char *text, size_t n, rl_tls_stream *s)
{
    rl_tls_stream_init(s, tls);
    s->in = text;
    s->nin = n;
    return rl_tls_stream_handshake(s);
}

static void test_other_protocols(void)
{
    static const char http[] = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    char noise[512];
    rl_tls_stream s;

    CHECK_INT(first_words(http, sizeof(http) - 1, &s), RL_EPROTO);
    CHECK(s.out.len > 12 && memcmp(s.out.data, "HTTP/1.1 400", 12) == 0);
    rl_tls_stream_fini(&s);
    CHECK_INT(first_words("", 0, &s), 0); /* nothing yet is no failure */
    CHECK(!s.open && !s.broken);
    rl_tls_stream_fini(&s);
    srand(7);
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < sizeof(noise); i++)
            noise[i] = (char)rand();
        if (round & 1)
            memcpy(noise, "\x16\x03\x01\x01\xf0\x01", 6); /* as a hello begins */
        CHECK(first_words(noise, sizeof(noise), &s) <= 0);
        CHECK(!s.open);
        rl_tls_stream_fini(&s);
    }
}

struct ticket {
    unsigned char name[16], iv[EVP_MAX_IV_LENGTH];
};

static int serve_ticket(rl_tickets *ts, struct ticket *t, int seal)
{
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *mac = EVP_MAC_CTX_new(hmac);
    int rc = rl_tickets_serve(ts, t->name, t->iv, cipher, mac, seal);

    EVP_MAC_CTX_free(mac);
    EVP_MAC_free(hmac);
    EVP_CIPHER_CTX_free(cipher);
    return rc;
}

static void test_tickets(void)
{
    struct ticket old, fresh, unknown = {{1}, {0}};
    rl_tickets ts;

    rl_tickets_init(&ts);
    CHECK_INT(serve_ticket(&ts, &unknown, 0), 0);
    CHECK_INT(serve_ticket(&ts, &old, 1), 1);
    CHECK_INT(serve_ticket(&ts, &old, 0), 1);
    rl_tickets_age(&ts, RL_TLS_TICKET_SECONDS);
    CHECK_INT(serve_ticket(&ts, &old, 0), 2); /* still good, but to be renewed */
    CHECK_INT(serve_ticket(&ts, &fresh, 1), 1);
    CHECK(memcmp(old.name, fresh.name, sizeof(old.name)) != 0);
    CHECK_INT(serve_ticket(&ts, &fresh, 0), 1);
    rl_tickets_age(&ts, RL_TLS_TICKET_SECONDS);
    CHECK_INT(serve_ticket(&ts, &old, 0), 0);
    CHECK_INT(serve_ticket(&ts, &fresh, 0), 2);
    rl_tickets_age(&ts, 3 * RL_TLS_TICKET_SECONDS); /* a night without clients */
    CHECK_INT(serve_ticket(&ts, &fresh, 0), 0);
    rl_tickets_fini(&ts);
}

int main(int argc, char **argv)
{
    static const size_t cuts[] = {1, 2, 3, 5, 7, 64, 1000, 16384, 48000};
    char folder[] = "/tmp/test_tls.XXXXXX", cert[64], key[64], command[512];
    rl_err err;

    RL_CHECK(argc == 2 && mkdtemp(folder) != NULL);
    snprintf(command, sizeof(command), "%s %s", argv[1], folder);
    RL_CHECK(system(command) == 0);
    snprintf(cert, sizeof(cert), "%s/localhost.pem", folder);
    snprintf(key, sizeof(key), "%s/localhost.key", folder);
    rl_tls_config config = {.pairs = {{cert, key}}, .npairs = 1};
    RL_CHECK(rl_tls_open(&tls, &config, &err) == 0);
    client_ctx = SSL_CTX_new(TLS_client_method());

    for (size_t i = 0; i < RL_COUNT(cuts); i++) {
        test_both_ways(TLS1_2_VERSION, cuts[i]);
        test_both_ways(TLS1_3_VERSION, cuts[i]);
    }
    test_broken_record();
    test_other_protocols();
    test_tickets();

    SSL_CTX_free(client_ctx);
    rl_tls_close(tls);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    RL_CHECK(system(command) == 0);
    return unit_done();
}
