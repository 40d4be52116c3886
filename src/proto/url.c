#include "proto/url.h"

#include "proto/utf8.h"

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool rl_url_authority_valid(rl_str s)
{
    rl_str host = s;

    if (s.n && s.p[0] == '[') { /* an IPv6 address has colons of its own */
        const char *end = memchr(s.p, ']', s.n);
        if (!end)
            return false;
        host = (rl_str){s.p + 1, (size_t)(end - s.p - 1)};
        s = (rl_str){end + 1, s.n - host.n - 2};
        for (size_t i = 0; i < host.n; i++)
            if (hex(host.p[i]) < 0 && host.p[i] != ':' && host.p[i] != '.')
                return false;
    } else {
        const char *colon = s.n ? memchr(s.p, ':', s.n) : NULL;
        host.n = colon ? (size_t)(colon - s.p) : s.n;
        s = (rl_str){s.p + host.n, s.n - host.n};
        for (size_t i = 0; i < host.n; i++)
            if (!is_alnum(host.p[i]) && !memchr("-._~!$&'()*+;=%", host.p[i], 15))
                return false;
    }
    if (host.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) /* ":" and perhaps a port */
        if (i == 0 ? s.p[i] != ':' : s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.n <= 6;
}

/* Take the scheme and the authority of a whole URL off the front of *target. */
static bool cut_authority(rl_str *target, rl_str *authority)
{
    static const rl_str schemes[] = {{"http://", 7}, {"https://", 8}};

    for (size_t i = 0; i < RL_COUNT(schemes); i++) {
        size_t n = schemes[i].n;
        if (target->n < n || !rl_str_eq_nocase((rl_str){target->p, n}, schemes[i]))
            continue;
        size_t end = n;
        while (end < target->n && target->p[end] != '/' && target->p[end] != '?')
            end++;
        *authority = (rl_str){target->p + n, end - n};
        *target = (rl_str){target->p + end, target->n - end};
        return rl_url_authority_valid(*authority);
    }
    return false;
}

int rl_url_split(rl_url *out, rl_str target, rl_err *err)
{
    *out = (rl_url){{NULL, 0}, {NULL, 0}, {NULL, 0}};

    if (target.n && memchr(target.p, '#', target.n))
        return rl_err_set(err, RL_ESYNTAX, "a target has no fragment");
    if (rl_str_eq(target, RL_STR("*"))) {
        out->path = target;
        return 0;
    }
    if ((!target.n || target.p[0] != '/') && !cut_authority(&target, &out->authority))
        return rl_err_set(err, RL_ESYNTAX, "a target is a path or a http URL");

    const char *mark = target.n ? memchr(target.p, '?', target.n) : NULL;
    out->path = (rl_str){target.p, mark ? (size_t)(mark - target.p) : target.n};
    if (mark)
        out->query = (rl_str){mark + 1, target.n - out->path.n - 1};
    if (!out->path.n)
        out->path = RL_STR("/");
    return 0;
}

/* Append the decoded bytes; there is room, since they are never more than the raw ones. */
static int decode(rl_buf *out, rl_str raw, bool plus, rl_err *err)
{
    size_t start = out->len;
    char *to = out->data + start;

    for (size_t i = 0; i < raw.n; i++) {
        char c = raw.p[i];
        if (c == '%') {
            bool room = raw.n - i > 2;
            int high = room ? hex(raw.p[i + 1]) : -1;
            int low = room ? hex(raw.p[i + 2]) : -1;
            if (high < 0 || low < 0)
                return rl_err_set(err, RL_ESYNTAX, "a %% is not followed by two hex digits");
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if (c == '\0')
            return rl_err_set(err, RL_ESYNTAX, "it decodes to a NUL");
        *to++ = c;
    }
    rl_str got = {out->data + start, (size_t)(to - out->data) - start};
    if (!rl_utf8_valid(got))
        return rl_err_set(err, RL_EUTF8, "it does not decode to UTF-8");
    out->len += got.n;
    return 0;
}

int rl_url_decode_path(rl_buf *out, rl_str raw, rl_err *err)
{
    if (raw.n == 0)
        return 0;
    rl_buf_reserve(out, raw.n);
    return decode(out, raw, false, err);
}

int rl_url_form_next(rl_str *rest, rl_buf *scratch, rl_str *key, rl_str *value, rl_err *err)
{
    rl_str pair, name;

    do {
        if (!rl_str_cut(rest, '&', &pair))
            return 0;
    } while (pair.n == 0); /* "a=1&&b=2" */

    rl_buf_clear(scratch);
    rl_buf_reserve(scratch, pair.n); /* once: the key must not move under the value */
    rl_str_cut(&pair, '=', &name);

    int rc = decode(scratch, name, true, err);
    if (rc < 0)
        return rc;
    *key = rl_buf_str(scratch);
    if (pair.p) {
        rc = decode(scratch, pair, true, err);
        if (rc < 0)
            return rc;
    }
    *value = (rl_str){key->p + key->n, scratch->len - key->n};
    return 1;
}
