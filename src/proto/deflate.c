/* deflate.c - zlib, dressed.
 *
 * Where a side keeps its window, its stream belongs to the connection from its first message on.
 * Where it does not, the stream is the worker's and is reset before every message.
 *
 * A frame made for all refers to no window, which any inflater may read. But the client's window
 * then ends in that frame, and ours would not: distances would be wrong. So our window is
 * forgotten, and the next message of the connection's own deflater begins anew. */
#include "proto/deflate.h"

#include "base/pack.h"

#include <zlib.h>

enum {
    PIECE_FIRST = 4 * 1024, /* inflated at a step, */
    PIECE_MOST = 64 * 1024, /* and at a later one */
    KEEP_OUT = 256 * 1024,  /* of the worker's buffer, between messages */
};

/* What a flush ends with, and messages leave out (RFC 7692 section 7.2.1). */
static const rl_str TAIL = {"\x00\x00\xff\xff", 4};

typedef struct rl_deflate_stream {
    z_stream z;
    rl_deflate_shared *shared;
    uint8_t level;
} stream;

struct rl_deflate {
    rl_deflate_shared *shared;
    stream *out, *in; /* kept windows; NULL: none, or none yet */
    uint32_t threshold;
    uint8_t level;
    rl_deflate_terms terms;
};

static void *allocate(void *unused, unsigned n, unsigned size)
{
    return rl_calloc(n, size);
}

static void release(void *unused, void *p)
{
    rl_free(p);
}

static stream *new_stream(rl_deflate_shared *shared)
{
    stream *s = rl_calloc(1, sizeof(*s));

    s->shared = shared;
    s->z.zalloc = allocate;
    s->z.zfree = release;
    shared->streams++;
    return s;
}

/* The hash tables follow the window: a small one is not worth large ones. */
static stream *new_deflater(rl_deflate_shared *shared, int bits, int level)
{
    stream *s = new_stream(shared);

    s->level = (uint8_t)level;
    RL_CHECK(deflateInit2(&s->z, level, Z_DEFLATED, -bits, bits - 7, Z_DEFAULT_STRATEGY) == Z_OK);
    return s;
}

static stream *new_inflater(rl_deflate_shared *shared, int bits)
{
    stream *s = new_stream(shared);

    RL_CHECK(inflateInit2(&s->z, -bits) == Z_OK);
    return s;
}

static void free_deflater(stream *s)
{
    if (!s)
        return;
    deflateEnd(&s->z);
    s->shared->streams--;
    rl_free(s);
}

static void free_inflater(stream *s)
{
    if (!s)
        return;
    inflateEnd(&s->z);
    s->shared->streams--;
    rl_free(s);
}

void rl_deflate_shared_fini(rl_deflate_shared *shared)
{
    for (size_t bits = 0; bits < RL_COUNT(shared->deflaters); bits++)
        free_deflater(shared->deflaters[bits]);
    free_inflater(shared->inflater);
    rl_buf_fini(&shared->out);
    RL_CHECK(shared->streams == 0);
}

rl_deflate *rl_deflate_new(rl_deflate_shared *shared, const rl_deflate_settings *settings,
                           const rl_deflate_terms *terms)
{
    rl_deflate *d = rl_calloc(1, sizeof(*d));

    d->shared = shared;
    d->threshold = settings->threshold ? settings->threshold : RL_DEFLATE_THRESHOLD;
    d->level = settings->level ? settings->level : RL_DEFLATE_LEVEL;
    d->terms = *terms;
    return d;
}

void rl_deflate_free(rl_deflate *d)
{
    if (!d)
        return;
    free_deflater(d->out);
    free_inflater(d->in);
    rl_free(d);
}

size_t rl_deflate_bound(size_t n)
{
    size_t more = n / 8 + n / 64 + 64; /* zlib's worst, with the smallest tables */

    return n > SIZE_MAX - more ? SIZE_MAX : n + more;
}

/* Out */

static rl_str run_deflate(stream *s, rl_str message)
{
    rl_buf *out = &s->shared->out;
    z_stream *z = &s->z;

    rl_buf_clear(out);
    if (out->cap > KEEP_OUT)
        rl_buf_fini(out);
    rl_buf_reserve(out, rl_deflate_bound(message.n));
    z->next_in = (Bytef *)(uintptr_t)message.p;
    z->avail_in = (uInt)message.n;
    z->next_out = (Bytef *)out->data;
    z->avail_out = (uInt)rl_deflate_bound(message.n);
    RL_CHECK(deflate(z, Z_SYNC_FLUSH) == Z_OK && z->avail_out > 0);
    out->len = (size_t)((char *)z->next_out - out->data);
    RL_CHECK(out->len > TAIL.n && memcmp(out->data + out->len - TAIL.n, TAIL.p, TAIL.n) == 0);
    s->shared->deflated++;
    return (rl_str){out->data, out->len - TAIL.n};
}

static bool run_fresh(rl_deflate_shared *shared, int bits, int level, rl_str message, rl_str *out)
{
    stream **s = &shared->deflaters[bits];

    if (!*s)
        *s = new_deflater(shared, bits, level);
    else
        deflateReset(&(*s)->z);
    if ((*s)->level != level) {
        RL_CHECK(deflateParams(&(*s)->z, level, Z_DEFAULT_STRATEGY) == Z_OK);
        (*s)->level = (uint8_t)level;
    }
    rl_str deflated = run_deflate(*s, message);
    if (deflated.n >= message.n)
        return false;
    *out = deflated;
    return true;
}

/* zlib counts in unsigned int. */
static bool worth_it(const rl_deflate *d, size_t n)
{
    return n >= d->threshold && n && n <= UINT32_MAX / 2;
}

bool rl_deflate_message(rl_deflate *d, rl_str message, rl_str *out)
{
    if (!worth_it(d, message.n))
        return false;
    if (!d->terms.takeover)
        return run_fresh(d->shared, d->terms.bits, d->level, message, out);
    if (!d->out)
        d->out = new_deflater(d->shared, d->terms.bits, d->level);
    *out = run_deflate(d->out, message); /* smaller or not: the window has it now */
    return true;
}

uint32_t rl_deflate_key(const rl_deflate *d, size_t message_len)
{
    return worth_it(d, message_len) ? (uint32_t)d->level << 8 | d->terms.bits : 0;
}

bool rl_deflate_for_all(rl_deflate_shared *shared, uint32_t key, rl_str message, rl_str *out)
{
    return run_fresh(shared, key & 0xff, (int)(key >> 8), message, out);
}

void rl_deflate_forget(rl_deflate *d)
{
    if (d->out)
        deflateReset(&d->out->z);
}

/* In */

/* Inflate all of in behind out. */
static rl_inflated run_inflate(z_stream *z, rl_str in, size_t most, rl_buf *out)
{
    size_t piece = PIECE_FIRST;

    z->next_in = (Bytef *)(uintptr_t)in.p;
    z->avail_in = (uInt)in.n;
    for (;;) {
        size_t left = most - out->len; /* and one byte, which would be too many */
        size_t room = left < piece ? left + 1 : piece;
        rl_buf_reserve(out, room);
        piece = piece < PIECE_MOST ? piece * 2 : PIECE_MOST;
        z->next_out = (Bytef *)out->data + out->len;
        z->avail_out = (uInt)room;
        int rc = inflate(z, Z_SYNC_FLUSH);
        out->len += room - z->avail_out;
        if (out->len > most)
            return RL_INFLATE_BIG;
        if (rc == Z_STREAM_END) /* a last block; others may follow, and may refer to it */
            RL_CHECK(inflateResetKeep(z) == Z_OK);
        else if (rc != Z_OK && rc != Z_BUF_ERROR)
            return RL_INFLATE_BAD;
        if (z->avail_in == 0 && z->avail_out > 0)
            return RL_INFLATED;
    }
}

rl_inflated rl_inflate_message(rl_deflate *d, rl_str in, size_t most, rl_buf *out)
{
    enum { BETWEEN_BLOCKS = 128 }; /* of data_type */
    bool keep = d->terms.peer_takeover;
    stream **s = keep ? &d->in : &d->shared->inflater;

    if (in.n == 0) /* nothing at all is not a block, but some senders' nothing */
        return RL_INFLATED;
    if (in.n > UINT32_MAX / 2)
        return RL_INFLATE_BIG;
    if (!*s)
        *s = new_inflater(d->shared, keep ? d->terms.peer_bits : RL_DEFLATE_BITS_MAX);
    else if (!keep)
        inflateReset(&(*s)->z);

    d->shared->inflated++;
    rl_inflated result = run_inflate(&(*s)->z, in, most, out);
    if (result != RL_INFLATED || (*s)->z.total_in == 0) /* over the limit; or said to be all */
        return result;
    result = run_inflate(&(*s)->z, TAIL, most, out);
    if (result == RL_INFLATED && !((*s)->z.data_type & BETWEEN_BLOCKS))
        return RL_INFLATE_BAD;
    return result;
}

/* From process to process */

void rl_deflate_pack(const rl_deflate *d, rl_buf *out)
{
    Bytef window[1 << RL_DEFLATE_BITS_MAX];
    uInt n = 0;

    rl_pack_u32(out, d->threshold);
    rl_pack_u32(out, d->level);
    rl_pack_u32(out, d->terms.bits);
    rl_pack_u32(out, d->terms.peer_bits);
    rl_pack_u32(out, (uint32_t)d->terms.takeover | (uint32_t)d->terms.peer_takeover << 1);
    if (d->in)
        RL_CHECK(inflateGetDictionary(&d->in->z, window, &n) == Z_OK);
    rl_pack_bytes(out, (rl_str){(const char *)window, n});
}

rl_deflate *rl_deflate_unpack(rl_deflate_shared *shared, rl_str *in)
{
    uint32_t threshold, level, bits, peer_bits, takeover;
    rl_str window;

    if (!rl_unpack_u32(in, &threshold) || !rl_unpack_u32(in, &level) || !rl_unpack_u32(in, &bits) ||
        !rl_unpack_u32(in, &peer_bits) || !rl_unpack_u32(in, &takeover) ||
        !rl_unpack_bytes(in, &window) || bits < RL_DEFLATE_BITS_MIN || bits > RL_DEFLATE_BITS_MAX ||
        peer_bits > RL_DEFLATE_BITS_MAX || window.n > 1u << RL_DEFLATE_BITS_MAX)
        return NULL;
    const rl_deflate_settings settings = {.threshold = threshold, .level = (uint8_t)level};
    const rl_deflate_terms terms = {(uint8_t)bits, (uint8_t)peer_bits, takeover & 1, takeover & 2};
    rl_deflate *d = rl_deflate_new(shared, &settings, &terms);
    if (window.n) {
        d->in = new_inflater(shared, terms.peer_bits);
        RL_CHECK(inflateSetDictionary(&d->in->z, (const Bytef *)window.p, (uInt)window.n) == Z_OK);
    }
    return d;
}
