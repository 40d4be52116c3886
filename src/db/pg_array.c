#include "db/pg_array.h"

#include <stdlib.h>
#include <strings.h>

/* Single values */

static int64_t to_int(const char *s)
{
    bool negative = *s == '-';
    uint64_t n = 0;

    for (s += negative; *s >= '0' && *s <= '9'; s++)
        n = n * 10 + (uint64_t)(*s - '0');
    return (int64_t)(negative ? 0 - n : n);
}

static int hex_digit(char c)
{
    return (c <= '9' ? c - '0' : (c | 32) - 'a' + 10) & 15;
}

/* "\x00ff" to two bytes. */
static rl_str decode_bytes(char *text, size_t n)
{
    size_t len = 0;

    for (size_t i = 2; i + 1 < n; i += 2)
        text[len++] = (char)(hex_digit(text[i]) << 4 | hex_digit(text[i + 1]));
    return (rl_str){text, len};
}

rl_value rl_pg_read(rl_kind kind, char *text, size_t n)
{
    rl_value v = {.kind = kind};

    switch (kind) {
    case RL_NULL:
        break;
    case RL_BOOL:
        v.i = *text == 't';
        break;
    case RL_INT:
        v.i = to_int(text);
        break;
    case RL_FLOAT:
        v.f = strtod(text, NULL);
        break;
    case RL_BYTES:
        v.s = decode_bytes(text, n);
        break;
    case RL_TEXT:
    case RL_NUMERIC:
    case RL_JSON:
    case RL_ARRAY:
        v.s = (rl_str){text, n};
        break;
    }
    return v;
}

/* Arrays */

static char peek(const rl_pg_array *a)
{
    return a->rest.n ? *a->rest.p : '\0';
}

static void skip(rl_pg_array *a, size_t n)
{
    a->rest = (rl_str){a->rest.p + n, a->rest.n - n};
}

static rl_pg_token broken(rl_pg_array *a)
{
    a->at = RL_PG_BROKEN;
    return RL_PG_BAD;
}

void rl_pg_array_init(rl_pg_array *a, rl_str text, char delimiter)
{
    *a = (rl_pg_array){.rest = text, .delimiter = delimiter};
    if (peek(a) != '[')
        return;
    const char *equals = memchr(text.p, '=', text.n);
    size_t n = equals ? (size_t)(equals - text.p) : 0;
    if (!equals || text.p[n - 1] != ']')
        a->at = RL_PG_BROKEN;
    for (size_t i = 0; i < n; i++)
        if (!strchr("[]:+-0123456789", text.p[i]) || !text.p[i])
            a->at = RL_PG_BROKEN;
    if (a->at == RL_PG_AT_START)
        skip(a, n + 1);
}

void rl_pg_array_fini(rl_pg_array *a)
{
    rl_buf_fini(&a->item);
}

static rl_pg_token quoted(rl_pg_array *a)
{
    for (size_t i = 1; i < a->rest.n; i++) {
        char c = a->rest.p[i];
        if (c == '"') {
            skip(a, i + 1);
            rl_buf_cstr(&a->item);
            return RL_PG_ITEM;
        }
        if (c == '\\') {
            if (++i == a->rest.n)
                break;
            c = a->rest.p[i];
        }
        rl_buf_add_c(&a->item, c);
    }
    return broken(a);
}

static rl_pg_token unquoted(rl_pg_array *a)
{
    size_t n = 0;

    for (; n < a->rest.n && a->rest.p[n] != a->delimiter && a->rest.p[n] != '}'; n++)
        if (strchr("{\"\\", a->rest.p[n])) /* these come quoted; a NUL never comes */
            return broken(a);
    if (n == 0)
        return broken(a);
    rl_buf_add(&a->item, a->rest.p, n);
    skip(a, n);
    if (n == 4 && strncasecmp(rl_buf_cstr(&a->item), "NULL", 4) == 0)
        return RL_PG_NULL;
    rl_buf_cstr(&a->item);
    return RL_PG_ITEM;
}

static rl_pg_token open_list(rl_pg_array *a)
{
    if (a->depth == RL_PG_ARRAY_DEPTH)
        return broken(a);
    skip(a, 1);
    a->depth++;
    a->at = RL_PG_AT_FIRST;
    return RL_PG_OPEN;
}

static rl_pg_token close_list(rl_pg_array *a)
{
    skip(a, 1);
    a->depth--;
    a->at = RL_PG_BEHIND;
    return RL_PG_CLOSE;
}

static rl_pg_token element(rl_pg_array *a)
{
    a->at = RL_PG_BEHIND;
    rl_buf_clear(&a->item);
    if (peek(a) == '{')
        return open_list(a);
    return peek(a) == '"' ? quoted(a) : unquoted(a);
}

rl_pg_token rl_pg_array_next(rl_pg_array *a)
{
    switch (a->at) {
    case RL_PG_AT_START:
        return peek(a) == '{' ? open_list(a) : broken(a);
    case RL_PG_AT_FIRST:
        return peek(a) == '}' ? close_list(a) : element(a);
    case RL_PG_BEHIND:
        if (a->depth == 0)
            return a->rest.n == 0 ? RL_PG_END : broken(a);
        if (peek(a) == '}')
            return close_list(a);
        if (!a->rest.n || peek(a) != a->delimiter)
            return broken(a);
        skip(a, 1);
        return element(a);
    case RL_PG_BROKEN:
        break;
    }
    return RL_PG_BAD;
}
