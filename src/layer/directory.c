/* directory.c - open addressing in which no entry moves and none becomes empty again, so that a
 * reader who walks along meets every key that was there when it began.
 *
 * An entry whose count is 0 may be given another key. A reader of the old one who is in between
 * sees the new one's members as its own, once: a message goes to a worker that has nobody for it.
 * An entry is at most REACH steps from where its hash points; when there is no place so near, the
 * table is replaced by one of twice the size. Old tables stay, since somebody may be reading them;
 * together they are smaller than the present one. */
#include "layer/directory.h"

enum { FIRST_SIZE = 64, REACH = 32 };

struct entry {
    _Atomic uint64_t key; /* 0: never used */
    _Atomic unsigned count;
};

struct rl_directory_table {
    struct rl_directory_table *older;
    size_t size; /* a power of two */
    struct entry entries[];
};

typedef struct rl_directory_table table;

static table *new_table(size_t size, table *older)
{
    table *t = rl_calloc(1, sizeof(*t) + size * sizeof(t->entries[0]));

    t->size = size;
    t->older = older;
    return t;
}

void rl_directory_fini(rl_directory *d)
{
    table *t = atomic_load(&d->table);

    while (t) {
        table *older = t->older;
        rl_free(t);
        t = older;
    }
    atomic_store(&d->table, NULL);
}

static struct entry *at(table *t, uint64_t key, unsigned step)
{
    return &t->entries[(key + step) & (t->size - 1)];
}

static struct entry *find(table *t, uint64_t key)
{
    for (unsigned step = 0; step < REACH; step++) {
        struct entry *e = at(t, key, step);
        uint64_t there = atomic_load_explicit(&e->key, memory_order_acquire);
        if (there == key)
            return e;
        if (!there)
            return NULL;
    }
    return NULL;
}

/* For a key that is not there. */
static bool put(table *t, uint64_t key, unsigned count)
{
    for (unsigned step = 0; step < REACH; step++) {
        struct entry *e = at(t, key, step);
        if (atomic_load_explicit(&e->count, memory_order_relaxed))
            continue;
        atomic_store_explicit(&e->count, count, memory_order_relaxed);
        atomic_store(&e->key, key);
        return true;
    }
    return false;
}

static bool copy(table *to, table *from)
{
    for (size_t i = 0; i < from->size; i++) {
        unsigned count = atomic_load_explicit(&from->entries[i].count, memory_order_relaxed);
        uint64_t key = atomic_load_explicit(&from->entries[i].key, memory_order_relaxed);
        if (count && !put(to, key, count))
            return false;
    }
    return true;
}

static table *grow(table *from)
{
    size_t size = from ? from->size * 2 : FIRST_SIZE;

    for (;; size *= 2) {
        table *t = new_table(size, from);
        if (!from || copy(t, from))
            return t;
        rl_free(t);
    }
}

static uint64_t valid(uint64_t key)
{
    return key ? key : 1;
}

void rl_directory_add(rl_directory *d, uint64_t key, int members)
{
    table *t = atomic_load_explicit(&d->table, memory_order_relaxed);

    key = valid(key);
    struct entry *e = t ? find(t, key) : NULL;
    if (e) {
        unsigned count = atomic_load_explicit(&e->count, memory_order_relaxed);
        RL_CHECK((int)count + members >= 0);
        atomic_store(&e->count, count + (unsigned)members);
        return;
    }
    RL_CHECK(members > 0);
    while (!t || !put(t, key, (unsigned)members)) {
        t = grow(t);
        atomic_store(&d->table, t);
    }
}

unsigned rl_directory_count(rl_directory *d, uint64_t key)
{
    table *t = atomic_load_explicit(&d->table, memory_order_acquire);

    key = valid(key);
    struct entry *e = t ? find(t, key) : NULL;
    return e ? atomic_load_explicit(&e->count, memory_order_acquire) : 0;
}
