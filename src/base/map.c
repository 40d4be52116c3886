#include "base/map.h"

#include <pthread.h>
#include <sys/random.h>

struct rl_map_slot {
    char *key; /* NULL: never used; &tombstone: was used */
    size_t len;
    uint64_t hash;
    void *value;
};

static char tombstone;
static uint64_t seed[2];
static pthread_once_t seeded = PTHREAD_ONCE_INIT;

static void draw_seed(void)
{
    if (getrandom(seed, sizeof(seed), 0) != sizeof(seed))
        seed[0] ^= (uint64_t)(uintptr_t)&seed; /* address randomisation is better than nothing */
}

#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
#define ROUND(a, b, c, d)                                                                       \
    (a += b, b = ROTL(b, 13), b ^= a, a = ROTL(a, 32), c += d, d = ROTL(d, 16), d ^= c, a += d, \
     d = ROTL(d, 21), d ^= a, c += b, b = ROTL(b, 17), b ^= c, c = ROTL(c, 32))

/* SipHash-1-3, the variant that hash tables of other languages settled on. */
uint64_t rl_map_hash(rl_str key)
{
    pthread_once(&seeded, draw_seed);
    uint64_t v0 = seed[0] ^ 0x736f6d6570736575, v1 = seed[1] ^ 0x646f72616e646f6d;
    uint64_t v2 = seed[0] ^ 0x6c7967656e657261, v3 = seed[1] ^ 0x7465646279746573;
    uint64_t tail = (uint64_t)key.n << 56;
    size_t whole = key.n & ~(size_t)7;

    for (size_t i = 0; i < whole; i += 8) {
        uint64_t word;
        memcpy(&word, key.p + i, 8);
        v3 ^= word;
        ROUND(v0, v1, v2, v3);
        v0 ^= word;
    }
    for (size_t i = whole; i < key.n; i++)
        tail |= (uint64_t)(uint8_t)key.p[i] << (8 * (i - whole));
    v3 ^= tail;
    ROUND(v0, v1, v2, v3);
    v0 ^= tail;
    v2 ^= 0xff;
    for (int i = 0; i < 3; i++)
        ROUND(v0, v1, v2, v3);
    return v0 ^ v1 ^ v2 ^ v3;
}

static bool is_live(const struct rl_map_slot *s)
{
    return s->key && s->key != &tombstone;
}

/* The slot that holds key, or NULL. */
static struct rl_map_slot *find(const rl_map *m, rl_str key, uint64_t hash)
{
    if (m->cap == 0)
        return NULL;
    for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        struct rl_map_slot *s = &m->slots[i];
        if (!s->key)
            return NULL;
        if (is_live(s) && s->hash == hash && s->len == key.n && !memcmp(s->key, key.p, key.n))
            return s;
    }
}

static struct rl_map_slot *first_free(struct rl_map_slot *slots, size_t cap, uint64_t hash)
{
    size_t i = hash & (cap - 1);

    while (is_live(&slots[i]))
        i = (i + 1) & (cap - 1);
    return &slots[i];
}

static void grow(rl_map *m)
{
    size_t cap = 8;
    while (cap < m->len * 4)
        cap *= 2;

    struct rl_map_slot *slots = rl_calloc(cap, sizeof(*slots));
    for (size_t i = 0; i < m->cap; i++)
        if (is_live(&m->slots[i]))
            *first_free(slots, cap, m->slots[i].hash) = m->slots[i];
    rl_free(m->slots);
    m->slots = slots;
    m->cap = cap;
    m->used = m->len;
}

void rl_map_fini(rl_map *m)
{
    for (size_t i = 0; i < m->cap; i++)
        if (is_live(&m->slots[i]))
            rl_free(m->slots[i].key);
    rl_free(m->slots);
    *m = (rl_map){0};
}

void *rl_map_get(const rl_map *m, rl_str key)
{
    struct rl_map_slot *s = m->len ? find(m, key, rl_map_hash(key)) : NULL;

    return s ? s->value : NULL;
}

void *rl_map_put(rl_map *m, rl_str key, void *value)
{
    uint64_t hash = rl_map_hash(key);
    struct rl_map_slot *s = find(m, key, hash);

    if (s) {
        void *old = s->value;
        s->value = value;
        return old;
    }
    if ((m->used + 1) * 4 > m->cap * 3)
        grow(m);
    s = first_free(m->slots, m->cap, hash);
    m->used += s->key == NULL;
    m->len++;
    *s = (struct rl_map_slot){rl_strndup(key.p, key.n), key.n, hash, value};
    return NULL;
}

void *rl_map_remove(rl_map *m, rl_str key)
{
    struct rl_map_slot *s = m->len ? find(m, key, rl_map_hash(key)) : NULL;

    if (!s)
        return NULL;
    void *value = s->value;
    rl_free(s->key);
    *s = (struct rl_map_slot){.key = &tombstone};
    m->len--;
    return value;
}

bool rl_map_next(const rl_map *m, size_t *at, rl_str *key, void **value)
{
    for (; *at < m->cap; (*at)++) {
        struct rl_map_slot *s = &m->slots[*at];
        if (is_live(s)) {
            *key = (rl_str){s->key, s->len};
            *value = s->value;
            (*at)++;
            return true;
        }
    }
    return false;
}
