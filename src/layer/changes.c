#include "layer/changes.h"

#include <string.h>

struct rl_changes {
    rl_changed_fn *fn;
    rl_map groups, channels; /* name to BEGUN or ENDED */
};

static char begun, ended;

static rl_map *map_of(struct rl_changes *changes, rl_change change)
{
    bool group = change == RL_GROUP_BEGAN || change == RL_GROUP_ENDED;

    return group ? &changes->groups : &changes->channels;
}

bool rl_layer_is_changing(const rl_layer *layer)
{
    return layer->changes && layer->changes->groups.len + layer->changes->channels.len > 0;
}

bool rl_layer_group_is_changing(const rl_layer *layer, rl_str group)
{
    return layer->changes && rl_map_get(&layer->changes->groups, group);
}

void rl_changes_note(rl_layer *layer, rl_change change, rl_str name)
{
    bool first = !rl_layer_is_changing(layer);
    rl_map *map = map_of(layer->changes, change);
    char *now = change == RL_GROUP_BEGAN || change == RL_CHANNEL_BEGAN ? &begun : &ended;
    const char *before = rl_map_get(map, name);

    if (before && before != now)
        rl_map_remove(map, name);
    else
        rl_map_put(map, name, now);
    if (first)
        layer->changes->fn(layer);
}

static void note(void *arg, rl_change change, rl_str name)
{
    rl_changes_note(arg, change, name);
}

void rl_layer_watch(rl_layer *layer, rl_changed_fn *fn)
{
    if (layer->changes)
        return;
    layer->changes = rl_calloc(1, sizeof(*layer->changes));
    layer->changes->fn = fn;
    rl_layer_list(layer, note, layer);
}

static void take(rl_map *map, rl_change first, rl_change last, rl_change_fn *fn, void *arg)
{
    size_t at = 0;
    rl_str name;
    void *what;

    while (rl_map_next(map, &at, &name, &what))
        fn(arg, what == &begun ? first : last, name);
    rl_map_fini(map);
    *map = (rl_map){0};
}

void rl_layer_take_changes(rl_layer *layer, rl_change_fn *fn, void *arg)
{
    if (!layer->changes)
        return;
    take(&layer->changes->groups, RL_GROUP_BEGAN, RL_GROUP_ENDED, fn, arg);
    take(&layer->changes->channels, RL_CHANNEL_BEGAN, RL_CHANNEL_ENDED, fn, arg);
}

void rl_layer_list(rl_layer *layer, rl_change_fn *fn, void *arg)
{
    size_t at = 0;
    rl_str name;
    void *what;

    while (rl_map_next(&layer->groups, &at, &name, &what))
        fn(arg, RL_GROUP_BEGAN, name);
    at = 0;
    while (rl_map_next(&layer->channels, &at, &name, &what))
        if (!memchr(name.p, '!', name.n))
            fn(arg, RL_CHANNEL_BEGAN, name);
}

void rl_changes_free(struct rl_changes *changes)
{
    if (!changes)
        return;
    rl_map_fini(&changes->groups);
    rl_map_fini(&changes->channels);
    rl_free(changes);
}
