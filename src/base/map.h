/* map.h - from strings to pointers: open addressing, keys copied, values borrowed.
 *
 * Hashing is keyed at random once per process, since clients choose some of the keys.
 * A zeroed struct is an empty map. */
#ifndef RL_BASE_MAP_H
#define RL_BASE_MAP_H

#include "base/str.h"

typedef struct rl_map {
    struct rl_map_slot *slots;
    size_t cap;  /* a power of two, or 0 */
    size_t len;  /* live entries */
    size_t used; /* live ones and tombstones */
} rl_map;

void rl_map_fini(rl_map *m); /* the values are the caller's */

void *rl_map_get(const rl_map *m, rl_str key);        /* NULL when absent */
void *rl_map_put(rl_map *m, rl_str key, void *value); /* the value it replaces, or NULL */
void *rl_map_remove(rl_map *m, rl_str key);           /* the value, or NULL */

uint64_t rl_map_hash(rl_str key); /* the same in all threads of a process */

/* Walk all entries in no order: start with *at = 0; false at the end. The map must
 * not be changed meanwhile, but the entry just returned may be removed. */
bool rl_map_next(const rl_map *m, size_t *at, rl_str *key, void **value);

#endif
