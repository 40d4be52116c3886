/* msgpack.h - MessagePack (https://github.com/msgpack/msgpack/blob/master/spec.md): written value
 * by value, read as a run of events. Bytes in, events out; whoever has values of some kind makes
 * them.
 *
 * The library (msgpack-c) packs, and its parser's template reads. Its own values are not used:
 * they set aside room for as many elements as an array claims to have, five bytes for 48 GiB. */
#ifndef RL_PROTO_MSGPACK_H
#define RL_PROTO_MSGPACK_H

#include "base/buf.h"
#include "base/err.h"

#define RL_MSGPACK_MAX_DEPTH 200 /* of arrays and maps in each other */

/* What comes, in order: of an array its elements and an on_element behind each; of a map keys and
 * values, and an on_pair behind each two of them. Strings are slices of the input; text is UTF-8.
 * Any of them may leave by a long jump: nothing is held. */
typedef struct rl_msgpack_events {
    void (*on_nil)(void *arg);
    void (*on_bool)(void *arg, bool yes);
    void (*on_int)(void *arg, int64_t i);
    void (*on_uint)(void *arg, uint64_t u); /* beyond INT64_MAX */
    void (*on_float)(void *arg, double f);
    void (*on_text)(void *arg, rl_str text);
    void (*on_bytes)(void *arg, rl_str bytes);
    void (*on_array)(void *arg, size_t claimed); /* elements: believe it when they are there */
    void (*on_element)(void *arg, size_t i);     /* from 0 */
    void (*on_map)(void *arg, size_t claimed);
    bool (*on_pair)(void *arg); /* false: its key is of no use */
} rl_msgpack_events;

/* One value, which is all of `in`. RL_EPROTO: it is none, or none that is taken here (extension
 * types, text that is not UTF-8, too deep, no use for a key), with a sentence. */
int rl_msgpack_read(rl_str in, const rl_msgpack_events *events, void *arg, rl_err *err) RL_MUST_USE;

/* Append; the shortest form. Behind the head of an array or a map come its elements, or pairs. */
void rl_msgpack_add_nil(rl_buf *out);
void rl_msgpack_add_bool(rl_buf *out, bool yes);
void rl_msgpack_add_int(rl_buf *out, int64_t i);
void rl_msgpack_add_float(rl_buf *out, double f); /* always 64 bits */
void rl_msgpack_add_text(rl_buf *out, rl_str text);
void rl_msgpack_add_bytes(rl_buf *out, rl_str bytes);
void rl_msgpack_add_array(rl_buf *out, size_t n);
void rl_msgpack_add_map(rl_buf *out, size_t n);

#endif
