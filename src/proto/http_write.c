#include "proto/http_write.h"

#include <inttypes.h>
#include <stdio.h>

const char *rl_http_reason(int status)
{
    switch (status) {
    /* clang-format off */
    case 100: return "Continue";
    case 101: return "Switching Protocols";
    case 103: return "Early Hints";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 203: return "Non-Authoritative Information";
    case 204: return "No Content";
    case 205: return "Reset Content";
    case 206: return "Partial Content";
    case 207: return "Multi-Status";
    case 300: return "Multiple Choices";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 402: return "Payment Required";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 407: return "Proxy Authentication Required";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 421: return "Misdirected Request";
    case 422: return "Unprocessable Content";
    case 423: return "Locked";
    case 424: return "Failed Dependency";
    case 425: return "Too Early";
    case 426: return "Upgrade Required";
    case 428: return "Precondition Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 451: return "Unavailable For Legal Reasons";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    case 507: return "Insufficient Storage";
    case 511: return "Network Authentication Required";
    default: return "";
        /* clang-format on */
    }
}

void rl_http_write_status(rl_buf *out, int status)
{
    RL_CHECK(status >= 100 && status <= 999);
    const char digits[] = {'0' + (char)(status / 100), '0' + (char)(status / 10 % 10),
                           '0' + (char)(status % 10), ' '};

    rl_buf_add_str(out, RL_STR("HTTP/1.1 "));
    rl_buf_add(out, digits, sizeof(digits));
    rl_buf_add_str(out, rl_str_of(rl_http_reason(status)));
    rl_http_write_end(out);
}

/* RFC 9110 section 5.6.2. */
static bool is_token(rl_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alnum && !memchr("!#$%&'*+-.^_`|~", c, 15))
            return false;
    }
    return s.n > 0;
}

int rl_http_write_field(rl_buf *out, rl_str name, rl_str value, rl_err *err)
{
    if (!is_token(name))
        return rl_err_set(err, RL_ESYNTAX, "the name of a header is empty or not a token");
    for (size_t i = 0; i < value.n; i++) {
        uint8_t c = (uint8_t)value.p[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return rl_err_set(err, RL_ESYNTAX, "header %.*s: byte 0x%02x may not be in a value",
                              (int)name.n, name.p, (unsigned)c);
    }
    rl_buf_reserve(out, name.n + value.n + 4);
    rl_buf_add_str(out, name);
    rl_buf_add(out, ": ", 2);
    rl_buf_add_str(out, value);
    rl_http_write_end(out);
    return 0;
}

void rl_http_write_number(rl_buf *out, const char *name, uint64_t value)
{
    rl_buf_printf(out, "%s: %" PRIu64 "\r\n", name, value);
}

void rl_http_date(char out[RL_HTTP_DATE_LEN + 1], time_t t)
{
    /* Not strftime(): its names follow the locale. */
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct tm tm;
    char text[64];

    RL_CHECK(gmtime_r(&t, &tm));
    snprintf(text, sizeof(text), "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday],
             tm.tm_mday, months[tm.tm_mon], (tm.tm_year + 1900) % 10000, tm.tm_hour, tm.tm_min,
             tm.tm_sec);
    memcpy(out, text, RL_HTTP_DATE_LEN);
    out[RL_HTTP_DATE_LEN] = '\0';
}

void rl_http_write_date(rl_buf *out, time_t now)
{
    char date[RL_HTTP_DATE_LEN + 1];

    rl_http_date(date, now);
    rl_buf_printf(out, "date: %s\r\n", date);
}

void rl_http_write_end(rl_buf *out)
{
    rl_buf_add(out, "\r\n", 2);
}
