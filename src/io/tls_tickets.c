#include "io/tls_tickets.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>
#include <time.h>

static int64_t seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (int64_t)ts.tv_sec + 1; /* never 0 */
}

void rl_tickets_init(rl_tickets *ts)
{
    *ts = (rl_tickets){0};
    pthread_mutex_init(&ts->lock, NULL);
    ts->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
}

void rl_tickets_fini(rl_tickets *ts)
{
    OPENSSL_cleanse(&ts->now, sizeof(ts->now));
    OPENSSL_cleanse(&ts->before, sizeof(ts->before));
    EVP_CIPHER_free(ts->cipher);
    pthread_mutex_destroy(&ts->lock);
}

/* With the lock held: what has served its time retires. False: no randomness. */
static bool turn_over(rl_tickets *ts, int64_t now)
{
    rl_ticket_key fresh = {.born = now};

    if (ts->before.born && now - ts->before.born >= 2 * RL_TLS_TICKET_SECONDS)
        OPENSSL_cleanse(&ts->before, sizeof(ts->before));
    if (ts->now.born && now - ts->now.born < RL_TLS_TICKET_SECONDS)
        return true;
    if (RAND_bytes(fresh.name, sizeof(fresh.name)) <= 0 ||
        RAND_priv_bytes(fresh.cipher, sizeof(fresh.cipher)) <= 0 ||
        RAND_priv_bytes(fresh.mac, sizeof(fresh.mac)) <= 0)
        return false;
    if (now - ts->now.born < 2 * RL_TLS_TICKET_SECONDS)
        ts->before = ts->now;
    ts->now = fresh;
    OPENSSL_cleanse(&fresh, sizeof(fresh));
    return true;
}

static bool set_mac(EVP_MAC_CTX *mac, rl_ticket_key *key)
{
    static char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof(key->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };

    return EVP_MAC_CTX_set_params(mac, params) > 0;
}

static bool is_named(const rl_ticket_key *key, const unsigned char *name)
{
    return key->born && memcmp(key->name, name, sizeof(key->name)) == 0;
}

int rl_tickets_serve(rl_tickets *ts, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int seal)
{
    rl_ticket_key key = {0};
    int rc = 0; /* unknown: a full handshake */

    pthread_mutex_lock(&ts->lock);
    bool alive = turn_over(ts, seconds());
    if (seal || is_named(&ts->now, name))
        key = ts->now;
    else if (is_named(&ts->before, name))
        key = ts->before;
    bool current = key.born == ts->now.born;
    pthread_mutex_unlock(&ts->lock);

    if (!alive)
        return -1;
    if (key.born == 0)
        return 0;
    if (seal) {
        memcpy(name, key.name, sizeof(key.name));
        bool ok = RAND_bytes(iv, EVP_CIPHER_get_iv_length(ts->cipher)) > 0 &&
                  EVP_EncryptInit_ex2(cipher, ts->cipher, key.cipher, iv, NULL) &&
                  set_mac(mac, &key);
        rc = ok ? 1 : -1;
    } else {
        bool ok =
            set_mac(mac, &key) && EVP_DecryptInit_ex2(cipher, ts->cipher, key.cipher, iv, NULL);
        rc = !ok ? -1 : current ? 1 : 2; /* 2: take it, and give the client a new one */
    }
    OPENSSL_cleanse(&key, sizeof(key));
    return rc;
}

void rl_tickets_age(rl_tickets *ts, int64_t by)
{
    pthread_mutex_lock(&ts->lock);
    ts->now.born -= by;
    if (ts->before.born)
        ts->before.born -= by;
    pthread_mutex_unlock(&ts->lock);
}
