#include "proto/resp.h"

#include <hiredis/hiredis.h>

struct rl_resp_reader {
    redisReader *hiredis;
};

void rl_resp_free(rl_resp *reply)
{
    if (!reply)
        return;
    for (size_t i = 0; i < reply->n; i++)
        rl_resp_free(reply->items[i]);
    rl_free(reply->items);
    rl_free(reply);
}

bool rl_resp_is(const rl_resp *reply, const char *word)
{
    return reply && reply->type == RL_RESP_STRING && rl_str_eq_nocase(reply->text, rl_str_of(word));
}

/* What hiredis calls for every value. A parent's elements come in order. */

static void *put(const redisReadTask *task, rl_resp *reply)
{
    rl_resp *parent = task->parent ? task->parent->obj : NULL;

    if (!parent)
        return reply;
    RL_CHECK(parent->n == (size_t)task->idx);
    if ((parent->n & (parent->n - 1)) == 0) /* 0, 1, 2, 4, 8, … */
        parent->items = rl_realloc(parent->items, (parent->n ? 2 * parent->n : 1) * sizeof(reply));
    parent->items[parent->n++] = reply;
    return reply;
}

static rl_resp *new_reply(rl_resp_type type)
{
    rl_resp *reply = rl_calloc(1, sizeof(*reply));

    reply->type = type;
    return reply;
}

static void *on_string(const redisReadTask *task, char *p, size_t n)
{
    rl_resp *reply = rl_malloc(sizeof(*reply) + n + 1);
    char *text = (char *)(reply + 1);

    memcpy(text, p, n);
    text[n] = '\0';
    *reply = (rl_resp){.type = task->type == REDIS_REPLY_ERROR ? RL_RESP_ERROR : RL_RESP_STRING,
                       .text = {text, n}};
    return put(task, reply);
}

static void *on_array(const redisReadTask *task, int n)
{
    return put(task, new_reply(RL_RESP_ARRAY));
}

static void *on_integer(const redisReadTask *task, long long value)
{
    rl_resp *reply = new_reply(RL_RESP_INT);

    reply->integer = value;
    return put(task, reply);
}

static void *on_nil(const redisReadTask *task)
{
    return put(task, new_reply(RL_RESP_NIL));
}

static void on_free(void *reply)
{
    rl_resp_free(reply);
}

static redisReplyObjectFunctions functions = {
    .createString = on_string,
    .createArray = on_array,
    .createInteger = on_integer,
    .createNil = on_nil,
    .freeObject = on_free,
};

rl_resp_reader *rl_resp_reader_new(void)
{
    rl_resp_reader *r = rl_malloc(sizeof(*r));

    r->hiredis = redisReaderCreateWithFunctions(&functions);
    RL_CHECK(r->hiredis != NULL);
    return r;
}

void rl_resp_reader_free(rl_resp_reader *r)
{
    if (!r)
        return;
    redisReaderFree(r->hiredis);
    rl_free(r);
}

static int fail(const rl_resp_reader *r, rl_err *err)
{
    return rl_err_set(err, RL_EPROTO, "the server does not speak Redis's protocol: %s",
                      r->hiredis->errstr);
}

int rl_resp_feed(rl_resp_reader *r, const char *p, size_t n, rl_err *err)
{
    if (r->hiredis->len - r->hiredis->pos + n > RL_RESP_MAX_UNPARSED)
        return rl_err_set(err, RL_EPROTO, "a reply of the server has more than %u MiB",
                          RL_RESP_MAX_UNPARSED >> 20);
    return redisReaderFeed(r->hiredis, p, n) == REDIS_OK ? 0 : fail(r, err);
}

int rl_resp_next(rl_resp_reader *r, rl_resp **out, rl_err *err)
{
    void *reply = NULL;

    if (redisReaderGetReply(r->hiredis, &reply) != REDIS_OK)
        return fail(r, err);
    *out = reply;
    return reply != NULL;
}

void rl_resp_add_command(rl_buf *out, const rl_str *args, size_t n)
{
    const char **texts = rl_malloc(n * sizeof(*texts));
    size_t *sizes = rl_malloc(n * sizeof(*sizes));
    char *text;

    for (size_t i = 0; i < n; i++) {
        texts[i] = args[i].p;
        sizes[i] = args[i].n;
    }
    int len = redisFormatCommandArgv(&text, (int)n, texts, sizes);
    RL_CHECK(len > 0);
    rl_buf_add(out, text, (size_t)len);
    redisFreeCommand(text);
    rl_free(texts);
    rl_free(sizes);
}
