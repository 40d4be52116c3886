#include "proto/msgpack.h"

#include "proto/utf8.h"

#define MSGPACK_EMBED_STACK_SIZE RL_MSGPACK_MAX_DEPTH

#include <msgpack/pack.h>
#include <msgpack/unpack.h>
#include <msgpack/unpack_define.h>

/* The template's parser, with these for its callbacks. Its "object" is what it keeps of a container
 * that is open: how many elements it has got. */

typedef struct reading {
    const rl_msgpack_events *events;
    void *arg;
    const char *why; /* we have refused something */
} reading;

typedef size_t counted;

static int refuse(reading *r, const char *why)
{
    r->why = why;
    return -1;
}

static counted on_root(reading *r)
{
    return 0;
}

static int on_nil(reading *r, counted *o)
{
    *o = 0;
    r->events->on_nil(r->arg);
    return 0;
}

static int on_bool(reading *r, bool yes, counted *o)
{
    *o = 0;
    r->events->on_bool(r->arg, yes);
    return 0;
}

static int on_true(reading *r, counted *o)
{
    return on_bool(r, true, o);
}

static int on_false(reading *r, counted *o)
{
    return on_bool(r, false, o);
}

static int on_int64(reading *r, int64_t i, counted *o)
{
    *o = 0;
    r->events->on_int(r->arg, i);
    return 0;
}

static int on_uint64(reading *r, uint64_t u, counted *o)
{
    if (u <= INT64_MAX)
        return on_int64(r, (int64_t)u, o);
    *o = 0;
    r->events->on_uint(r->arg, u);
    return 0;
}

static int on_double(reading *r, double f, counted *o)
{
    *o = 0;
    r->events->on_float(r->arg, f);
    return 0;
}

static int on_str(reading *r, const char *all, const char *p, unsigned n, counted *o)
{
    rl_str text = {n ? p : "", n};

    if (!rl_utf8_valid(text))
        return refuse(r, "text that is not UTF-8");
    *o = 0;
    r->events->on_text(r->arg, text);
    return 0;
}

static int on_bin(reading *r, const char *all, const char *p, unsigned n, counted *o)
{
    *o = 0;
    r->events->on_bytes(r->arg, (rl_str){n ? p : "", n});
    return 0;
}

static int on_ext(reading *r, const char *all, const char *p, unsigned n, counted *o)
{
    return refuse(r, "an extension type");
}

static int on_array(reading *r, unsigned n, counted *o)
{
    *o = 0;
    r->events->on_array(r->arg, n);
    return 0;
}

static int on_array_item(reading *r, counted *array, counted o)
{
    r->events->on_element(r->arg, (*array)++);
    return 0;
}

static int on_map(reading *r, unsigned n, counted *o)
{
    *o = 0;
    r->events->on_map(r->arg, n);
    return 0;
}

static int on_map_item(reading *r, counted *map, counted key, counted value)
{
    return r->events->on_pair(r->arg) ? 0 : refuse(r, "a key that is no string");
}

/* By the names that the template gives them. */
#define rl__on_root       on_root
#define rl__on_nil        on_nil
#define rl__on_true       on_true
#define rl__on_false      on_false
#define rl__on_uint8      on_int64
#define rl__on_uint16     on_int64
#define rl__on_uint32     on_int64
#define rl__on_uint64     on_uint64
#define rl__on_int8       on_int64
#define rl__on_int16      on_int64
#define rl__on_int32      on_int64
#define rl__on_int64      on_int64
#define rl__on_float      on_double
#define rl__on_double     on_double
#define rl__on_str        on_str
#define rl__on_bin        on_bin
#define rl__on_ext        on_ext
#define rl__on_array      on_array
#define rl__on_array_item on_array_item
#define rl__on_map        on_map
#define rl__on_map_item   on_map_item

#define msgpack_unpack_struct(name)    struct rl__reader##name
#define msgpack_unpack_func(ret, name) static ret rl__reader##name
#define msgpack_unpack_callback(name)  rl__on##name
#define msgpack_unpack_object          counted
#define msgpack_unpack_user            reading

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic" /* ranges of cases */
#pragma GCC diagnostic ignored "-Wunused-function"
#include <msgpack/unpack_template.h>
#pragma GCC diagnostic pop

int rl_msgpack_read(rl_str in, const rl_msgpack_events *events, void *arg, rl_err *err)
{
    struct rl__reader_context context;
    size_t used = 0;

    rl__reader_init(&context);
    context.user = (reading){.events = events, .arg = arg};
    int rc = rl__reader_execute(&context, in.p, in.n, &used);
    const char *why = context.user.why;

    if (rc > 0 && used == in.n)
        return 0;
    if (rc > 0)
        why = "something stands behind its end";
    else if (rc == 0)
        why = "it is cut off";
    else if (!why)
        why = context.top >= RL_MSGPACK_MAX_DEPTH ? "arrays and maps nested too deep"
                                                  : "a byte that means nothing";
    return rl_err_set(err, RL_EPROTO, "not MessagePack that is taken here: %s", why);
}

/* Writing */

static int write_to(void *out, const char *p, size_t n)
{
    rl_buf_add(out, p, n);
    return 0;
}

static msgpack_packer packer_of(rl_buf *out)
{
    return (msgpack_packer){.data = out, .callback = write_to};
}

void rl_msgpack_add_nil(rl_buf *out)
{
    msgpack_packer p = packer_of(out);

    msgpack_pack_nil(&p);
}

void rl_msgpack_add_bool(rl_buf *out, bool yes)
{
    msgpack_packer p = packer_of(out);

    if (yes)
        msgpack_pack_true(&p);
    else
        msgpack_pack_false(&p);
}

void rl_msgpack_add_int(rl_buf *out, int64_t i)
{
    msgpack_packer p = packer_of(out);

    msgpack_pack_int64(&p, i);
}

void rl_msgpack_add_float(rl_buf *out, double f)
{
    msgpack_packer p = packer_of(out);

    msgpack_pack_double(&p, f);
}

void rl_msgpack_add_text(rl_buf *out, rl_str text)
{
    msgpack_packer p = packer_of(out);

    msgpack_pack_str(&p, text.n);
    msgpack_pack_str_body(&p, text.p, text.n);
}

void rl_msgpack_add_bytes(rl_buf *out, rl_str bytes)
{
    msgpack_packer p = packer_of(out);

    msgpack_pack_bin(&p, bytes.n);
    msgpack_pack_bin_body(&p, bytes.p, bytes.n);
}

void rl_msgpack_add_array(rl_buf *out, size_t n)
{
    msgpack_packer p = packer_of(out);

    msgpack_pack_array(&p, n);
}

void rl_msgpack_add_map(rl_buf *out, size_t n)
{
    msgpack_packer p = packer_of(out);

    msgpack_pack_map(&p, n);
}
