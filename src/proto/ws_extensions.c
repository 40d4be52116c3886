/* ws_extensions.c - a reader for the header's grammar, and the rules of permessage-deflate.
 *
 *     extensions = 1#(token *( ";" token [ "=" ( token | quoted-string ) ] ))
 *
 * where a quoted string, unquoted, is a token again. */
#include "proto/ws_extensions.h"

#define HEADER RL_STR("sec-websocket-extensions")

enum next { NEXT_BAD = -1, NEXT_NONE, NEXT_ONE };

typedef struct param {
    rl_str name;
    char value[3]; /* its beginning, unquoted; no value that means anything is longer than 2 */
    size_t n;      /* its length; 0: there is none */
} param;

/* RFC 9110 section 5.6.2. */
static bool is_tchar(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool take_char(rl_str *rest, char c)
{
    *rest = rl_str_trim(*rest);
    if (!rest->n || rest->p[0] != c)
        return false;
    *rest = (rl_str){rest->p + 1, rest->n - 1};
    return true;
}

static bool take_token(rl_str *rest, rl_str *token)
{
    size_t n = 0;

    *rest = rl_str_trim(*rest);
    while (n < rest->n && is_tchar(rest->p[n]))
        n++;
    *token = (rl_str){rest->p, n};
    *rest = (rl_str){rest->p + n, rest->n - n};
    return n > 0;
}

static void add_char(param *p, char c)
{
    if (p->n < sizeof(p->value))
        p->value[p->n] = c;
    p->n++;
}

/* Behind the opening quote, up to and with the closing one. */
static bool take_quoted(rl_str *rest, param *p)
{
    size_t at = 0;

    for (; at < rest->n && rest->p[at] != '"'; at++) {
        if (rest->p[at] == '\\' && ++at == rest->n)
            return false;
        if (!is_tchar(rest->p[at]))
            return false;
        add_char(p, rest->p[at]);
    }
    if (at == rest->n || p->n == 0)
        return false;
    *rest = (rl_str){rest->p + at + 1, rest->n - at - 1};
    return true;
}

static enum next next_param(rl_str *rest, param *p)
{
    rl_str token;

    *p = (param){.n = 0};
    if (!take_char(rest, ';'))
        return NEXT_NONE;
    if (!take_token(rest, &p->name))
        return NEXT_BAD;
    if (!take_char(rest, '='))
        return NEXT_ONE;
    if (take_char(rest, '"'))
        return take_quoted(rest, p) ? NEXT_ONE : NEXT_BAD;
    if (!take_token(rest, &token))
        return NEXT_BAD;
    for (size_t i = 0; i < token.n; i++)
        add_char(p, token.p[i]);
    return NEXT_ONE;
}

/* The name of the next extension; its parameters are to be read before the next call. */
static enum next next_extension(rl_str *rest, bool first, rl_str *name)
{
    bool comma = first;

    while (take_char(rest, ','))
        comma = true;
    *rest = rl_str_trim(*rest);
    if (!rest->n)
        return NEXT_NONE;
    return comma && take_token(rest, name) ? NEXT_ONE : NEXT_BAD;
}

static bool is_list(rl_str value)
{
    enum next more;
    rl_str name;
    param p;

    for (bool first = true; (more = next_extension(&value, first, &name)) == NEXT_ONE;
         first = false) {
        while ((more = next_param(&value, &p)) == NEXT_ONE)
            continue;
        if (more == NEXT_BAD)
            return false;
    }
    return more == NEXT_NONE;
}

bool rl_ws_extensions_valid(const rl_http_head *head)
{
    for (size_t i = 0, n = rl_http_field_count(head); i < n; i++) {
        rl_http_field field = rl_http_field_at(head, i);
        if (rl_str_eq(field.name, HEADER) && !is_list(field.value))
            return false;
    }
    return true;
}

/* permessage-deflate */

typedef struct offer {
    bool no_context, peer_no_context;
    uint8_t bits;      /* server_max_window_bits; 0: not said */
    uint8_t peer_bits; /* client_max_window_bits; 15 when without a value; 0: not said */
} offer;

/* 8 to 15, without zeros in front; 0 when it is anything else. */
static uint8_t to_bits(const param *p)
{
    uint64_t bits;

    if (p->n < 1 || p->n > 2 || p->value[0] == '0')
        return 0;
    if (!rl_str_to_u64((rl_str){p->value, p->n}, 15, &bits) || bits < 8)
        return 0;
    return (uint8_t)bits;
}

static bool set_flag(bool *flag, const param *p)
{
    if (*flag || p->n)
        return false;
    return *flag = true;
}

static bool set_bits(uint8_t *bits, const param *p)
{
    if (*bits)
        return false;
    return (*bits = to_bits(p)) != 0;
}

/* False: unknown, there already, or wrong. */
static bool set_param(offer *o, const param *p)
{
    if (rl_str_eq_nocase(p->name, RL_STR("server_no_context_takeover")))
        return set_flag(&o->no_context, p);
    if (rl_str_eq_nocase(p->name, RL_STR("client_no_context_takeover")))
        return set_flag(&o->peer_no_context, p);
    if (rl_str_eq_nocase(p->name, RL_STR("server_max_window_bits")))
        return set_bits(&o->bits, p);
    if (!rl_str_eq_nocase(p->name, RL_STR("client_max_window_bits")))
        return false;
    if (p->n || o->peer_bits)
        return set_bits(&o->peer_bits, p);
    o->peer_bits = RL_DEFLATE_BITS_MAX;
    return true;
}

static uint8_t least_bits(uint8_t said, uint8_t wanted)
{
    uint8_t bits = wanted ? wanted : RL_DEFLATE_BITS_MAX;

    return said && said < bits ? said : bits;
}

/* A client whose window may not be limited could make us keep more than we want: then nothing is
 * kept of it. */
static bool agree(const offer *o, const rl_deflate_settings *settings, rl_deflate_terms *t)
{
    uint8_t peer_most = least_bits(0, settings->peer_bits);

    t->bits = least_bits(o->bits, settings->bits);
    t->peer_bits = o->peer_bits ? least_bits(o->peer_bits, peer_most) : RL_DEFLATE_BITS_MAX;
    t->takeover = settings->takeover && !o->no_context;
    t->peer_takeover = settings->peer_takeover && !o->peer_no_context && t->peer_bits <= peer_most;
    return t->bits >= RL_DEFLATE_BITS_MIN;
}

static void write_line(rl_buf *line, const offer *o, const rl_deflate_terms *t)
{
    rl_buf_add_str(line, RL_STR("sec-websocket-extensions: permessage-deflate"));
    if (!t->takeover)
        rl_buf_add_str(line, RL_STR("; server_no_context_takeover"));
    if (!t->peer_takeover)
        rl_buf_add_str(line, RL_STR("; client_no_context_takeover"));
    if (o->bits || t->bits < RL_DEFLATE_BITS_MAX)
        rl_buf_printf(line, "; server_max_window_bits=%d", t->bits);
    if (o->peer_bits && t->peer_bits < RL_DEFLATE_BITS_MAX)
        rl_buf_printf(line, "; client_max_window_bits=%d", t->peer_bits);
    rl_buf_add_str(line, RL_STR("\r\n"));
}

static bool choose(rl_str value, const rl_deflate_settings *settings, rl_deflate_terms *terms,
                   rl_buf *line)
{
    rl_str name;
    param p;

    for (bool first = true; next_extension(&value, first, &name) == NEXT_ONE; first = false) {
        bool good = rl_str_eq_nocase(name, RL_STR("permessage-deflate"));
        offer o = {.bits = 0};
        while (next_param(&value, &p) == NEXT_ONE)
            good = good && set_param(&o, &p);
        if (good && agree(&o, settings, terms)) {
            write_line(line, &o, terms);
            return true;
        }
    }
    return false;
}

bool rl_ws_extensions_agree(const rl_http_head *head, const rl_deflate_settings *settings,
                            rl_deflate_terms *terms, rl_buf *line)
{
    if (settings->off)
        return false;
    for (size_t i = 0, n = rl_http_field_count(head); i < n; i++) {
        rl_http_field field = rl_http_field_at(head, i);
        if (rl_str_eq(field.name, HEADER) && choose(field.value, settings, terms, line))
            return true;
    }
    return false;
}
