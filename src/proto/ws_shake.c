#include "proto/ws_shake.h"

#include "proto/ws_extensions.h"

#include <openssl/evp.h>
#include <pthread.h>

#define KEY_LEN 24 /* 16 bytes in base64 */

static bool is_base64(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '+' ||
           c == '/';
}

static bool is_key(rl_str s)
{
    if (s.n != KEY_LEN || s.p[22] != '=' || s.p[23] != '=')
        return false;
    for (size_t i = 0; i < 22; i++)
        if (!is_base64(s.p[i]))
            return false;
    return true;
}

static EVP_MD *sha1;

static void fetch_sha1(void)
{
    sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
    RL_CHECK(sha1);
}

/* Fetched once, for all threads: looking it up takes longer than such a digest. */
static const EVP_MD *get_sha1(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, fetch_sha1);
    return sha1;
}

void rl_ws_accept(rl_str key, char out[RL_WS_ACCEPT_LEN + 1])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char text[KEY_LEN + sizeof(guid) - 1], digest[EVP_MAX_MD_SIZE];
    unsigned n;

    RL_CHECK(key.n == KEY_LEN);
    memcpy(text, key.p, KEY_LEN);
    memcpy(text + KEY_LEN, guid, sizeof(guid) - 1);
    RL_CHECK(EVP_Digest(text, sizeof(text), digest, &n, get_sha1(), NULL));
    EVP_EncodeBlock((unsigned char *)out, digest, (int)n);
}

static rl_ws_shake_result bad(rl_ws_shake *out, int status, const char *why)
{
    out->status = status;
    out->why = why;
    return RL_WS_SHAKE_BAD;
}

rl_ws_shake_result rl_ws_shake_check(const rl_http_head *head, rl_ws_shake *out)
{
    rl_str version = {"", 0};

    *out = (rl_ws_shake){.key = {"", 0}};
    if (!rl_http_field_lists(head, RL_STR("upgrade"), RL_STR("websocket")))
        return RL_WS_SHAKE_NOT;

    if (!rl_str_eq(rl_http_method(head), RL_STR("GET")) || head->minor < 1)
        return bad(out, 400, "a WebSocket begins with a GET of HTTP/1.1");
    if (!rl_http_field_lists(head, RL_STR("connection"), RL_STR("upgrade")))
        return bad(out, 400, "Connection does not say \"Upgrade\"");
    if (head->chunked || head->content_length)
        return bad(out, 400, "a WebSocket does not begin with a body");

    rl_http_field_get(head, RL_STR("sec-websocket-version"), &version);
    if (!version.n)
        return bad(out, 400, "there is no Sec-WebSocket-Version");
    if (!rl_str_eq(version, RL_STR("13")))
        return bad(out, 426, "only version 13 of WebSocket is spoken here");
    rl_http_field_get(head, RL_STR("sec-websocket-key"), &out->key);
    if (rl_http_field_times(head, RL_STR("sec-websocket-key")) != 1 || !is_key(out->key))
        return bad(out, 400, "Sec-WebSocket-Key is not 16 bytes in base64");

    if (!rl_ws_extensions_valid(head))
        return bad(out, 400, "Sec-WebSocket-Extensions is not a list of extensions");

    return RL_WS_SHAKE_OK;
}
