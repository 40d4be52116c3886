#include "proto/http_lines.h"

/* Look at one byte of the head's lines: 0, or the status to answer, with *why. */
static int scan_byte(rl_http_lines *l, const rl_http_limits *limits, uint8_t c, const char **why)
{
    uint8_t before = l->last;

    l->last = c;
    if (before == '\r') {
        *why = "a carriage return without a line feed";
        if (c != '\n')
            return 400;
        *why = "the request line is not of HTTP/1";
        if (l->column == 0)
            l->ended = l->line > 0;
        else if (l->line == 0 && l->name < 5)
            return 400;
        else
            l->line++;
        l->column = 0;
        return 0;
    }
    if (c == '\r')
        return 0;
    *why = "a line feed without a carriage return";
    if (c == '\n')
        return 400;
    *why = "a control character in the head";
    if ((c < 0x20 && (c != '\t' || l->line == 0)) || c == 0x7f || c == 0x85)
        return 400;

    size_t column = l->column++;
    if (l->line > 0) {
        *why = "a header is folded over two lines";
        if (column == 0 && (c == ' ' || c == '\t'))
            return 400;
        *why = "a header has no name";
        if (column == 0 && c == ':')
            return 400;
        *why = "there are too many headers";
        return l->line > limits->max_fields ? 431 : 0;
    }
    if (c == ' ') {
        *why = "a space too many in the request line";
        l->spaces++;
        return column == 0 || before == ' ' || l->spaces > 2 ? 400 : 0;
    }
    if (l->spaces == 1) {
        *why = "the target is too long";
        return ++l->target > limits->max_target ? 414 : 0;
    }
    *why = "the request line is not of HTTP/1";
    return l->spaces == 2 && l->name < 5 && c != "HTTP/"[l->name++] ? 400 : 0;
}

/* How many bytes at p change nothing but the column: most of a head is inside a line. */
static size_t plain_bytes(const char *p, size_t n)
{
    size_t i = 0;

    while (i < n && (uint8_t)p[i] >= 0x20 && (uint8_t)p[i] < 0x7f)
        i++;
    return i;
}

size_t rl_http_lines_scan(rl_http_lines *l, const rl_http_limits *limits, const char *p, size_t n,
                          int *status, const char **why)
{
    size_t i = 0;

    if (n > limits->max_head - l->used)
        n = limits->max_head - l->used;
    *status = 0;
    *why = NULL;
    while (i < n && !l->ended && !*status) {
        if (l->line && l->column && l->last != '\r') {
            size_t plain = plain_bytes(p + i, n - i);
            l->column += plain;
            i += plain;
            if (i == n)
                break;
        }
        *status = scan_byte(l, limits, (uint8_t)p[i], why);
        i += !*status;
    }
    l->used += i;
    return i;
}
