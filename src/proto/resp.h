/* resp.h - the protocol of Redis, version 2: commands into bytes, bytes into replies.
 *
 * The parser and the formatter are hiredis's (Debian 12 has 0.14). Its connections are not used:
 * the asynchronous one of that version knows no TLS, wants a loop's adapter with a system call for
 * each command, and gives up what a cancelled caller would have to leave in order. Ours is
 * layer/redis.h.
 *
 * A server is trusted further than a client, but not with our memory: an array grows as its
 * elements come, whatever number it announced, and what is not complete yet has a bound. */
#ifndef RL_PROTO_RESP_H
#define RL_PROTO_RESP_H

#include "base/buf.h"
#include "base/err.h"

#define RL_RESP_MAX_UNPARSED (512u << 20) /* Redis's own bound of one string */
#define RL_RESP_MAX_DEPTH    7            /* of arrays: hiredis's */

typedef enum rl_resp_type {
    RL_RESP_NIL,
    RL_RESP_INT,
    RL_RESP_STRING, /* bulk, or simple ("+OK") */
    RL_RESP_ERROR,
    RL_RESP_ARRAY,
} rl_resp_type;

typedef struct rl_resp rl_resp;

struct rl_resp {
    rl_resp_type type;
    long long integer;
    rl_str text; /* STRING and ERROR; its own */
    rl_resp **items;
    size_t n; /* of an ARRAY */
};

void rl_resp_free(rl_resp *reply); /* with all that is in it; NULL is fine */

/* "MESSAGE": is this element a string of these letters, in either case? */
bool rl_resp_is(const rl_resp *reply, const char *word);

typedef struct rl_resp_reader rl_resp_reader;

rl_resp_reader *rl_resp_reader_new(void);
void rl_resp_reader_free(rl_resp_reader *r); /* NULL is fine */

/* Bytes came; copied. */
int rl_resp_feed(rl_resp_reader *r, const char *p, size_t n, rl_err *err) RL_MUST_USE;
/* 1: *out is the next whole reply, yours. 0: more is needed. RL_EPROTO: this is no RESP, and
 * nothing that follows will be. */
int rl_resp_next(rl_resp_reader *r, rl_resp **out, rl_err *err) RL_MUST_USE;

/* Append a command of n arguments, its name the first of them. */
void rl_resp_add_command(rl_buf *out, const rl_str *args, size_t n);

#endif
