#include "base/escape.h"

/* The bytes of the well-formed UTF-8 character at p (Unicode, table 3-7); 0: there is none. */
static size_t character(const uint8_t *p, size_t n)
{
    uint8_t low = 0x80, high = 0xbf;
    size_t len;

    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        len = 2;
    else if (p[0] >= 0xe0 && p[0] <= 0xef)
        len = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4)
        len = 4;
    else
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (n < len || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    return len;
}

/* Of len bytes: does a terminal take it for an order? */
static bool is_control(const uint8_t *p, size_t len)
{
    return p[0] < 0x20 || p[0] == 0x7f || (len == 2 && p[0] == 0xc2 && p[1] < 0xa0);
}

static void add_json(rl_buf *out, const uint8_t *p, size_t len)
{
    if (!len)
        rl_buf_add(out, "\xef\xbf\xbd", 3);
    else if (*p == '"' || *p == '\\')
        rl_buf_printf(out, "\\%c", *p);
    else if (*p == '\n')
        rl_buf_add(out, "\\n", 2);
    else if (*p == '\t')
        rl_buf_add(out, "\\t", 2);
    else if (*p < 0x20 || *p == 0x7f)
        rl_buf_printf(out, "\\u%04x", *p);
    else
        rl_buf_add(out, p, len);
}

void rl_escape_json(rl_buf *out, rl_str s)
{
    const uint8_t *p = (const uint8_t *)s.p, *end = p + s.n;

    rl_buf_add_c(out, '"');
    while (p < end) {
        size_t len = character(p, (size_t)(end - p));
        add_json(out, p, len);
        p += len ? len : 1;
    }
    rl_buf_add_c(out, '"');
}

/* One character, or one byte that is none; returns its length. */
static size_t add_shown(rl_buf *out, const uint8_t *p, size_t n)
{
    size_t len = character(p, n);

    if (len && !is_control(p, len)) {
        rl_buf_add(out, p, len);
        return len;
    }
    len = len ? len : 1;
    for (size_t i = 0; i < len; i++)
        rl_buf_printf(out, "\\x%02x", p[i]);
    return len;
}

void rl_escape_line(rl_buf *out, rl_str s)
{
    const uint8_t *p = (const uint8_t *)s.p, *end = p + s.n;

    while (p < end) {
        if (*p == '\n') {
            rl_buf_add(out, "\n  ", 3);
            p++;
        } else if (*p == '\t') {
            rl_buf_add_c(out, '\t');
            p++;
        } else {
            p += add_shown(out, p, (size_t)(end - p));
        }
    }
}

static bool is_plain(rl_str s)
{
    const uint8_t *p = (const uint8_t *)s.p, *end = p + s.n;

    while (p < end) {
        size_t len = character(p, (size_t)(end - p));
        if (!len || is_control(p, len) || *p == ' ' || *p == '"' || *p == '=' || *p == '\\')
            return false;
        p += len;
    }
    return s.n > 0;
}

void rl_escape_value(rl_buf *out, rl_str s)
{
    const uint8_t *p = (const uint8_t *)s.p, *end = p + s.n;

    if (is_plain(s)) {
        rl_buf_add_str(out, s);
        return;
    }
    rl_buf_add_c(out, '"');
    while (p < end) {
        if (*p == '"' || *p == '\\')
            rl_buf_printf(out, "\\%c", *p++);
        else if (*p == '\n' || *p == '\t')
            rl_buf_printf(out, "\\%c", *p++ == '\n' ? 'n' : 't');
        else
            p += add_shown(out, p, (size_t)(end - p));
    }
    rl_buf_add_c(out, '"');
}

void rl_escape_label(rl_buf *out, rl_str s)
{
    const uint8_t *p = (const uint8_t *)s.p, *end = p + s.n;

    while (p < end) {
        size_t len = character(p, (size_t)(end - p));
        if (!len)
            rl_buf_add(out, "\xef\xbf\xbd", 3);
        else if (*p == '\n')
            rl_buf_add(out, "\\n", 2);
        else if (*p == '"' || *p == '\\')
            rl_buf_printf(out, "\\%c", *p);
        else
            rl_buf_add(out, p, len);
        p += len ? len : 1;
    }
}
