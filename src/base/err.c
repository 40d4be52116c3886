#include "base/err.h"

#include <stdio.h>
#include <string.h>

int rl_err_vset(rl_err *err, int code, const char *fmt, va_list args)
{
    if (!err)
        return code;

    *err = (rl_err){.code = code};
    vsnprintf(err->msg, sizeof(err->msg), fmt, args);
    for (char *p = err->msg; *p; p++)
        if (*p == '\n' || *p == '\r')
            *p = ' ';
    for (size_t n = strlen(err->msg); n && err->msg[n - 1] == ' ';)
        err->msg[--n] = '\0';
    return code;
}

int rl_err_set(rl_err *err, int code, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    rl_err_vset(err, code, fmt, args);
    va_end(args);
    return code;
}
