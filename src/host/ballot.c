#include "host/ballot.h"

#include <string.h>

enum { MOST_TEARS = 5 };

static void forget_files(rl_ballot *b)
{
    size_t at = 0;
    rl_str name;
    void *digest;

    while (rl_map_next(&b->files, &at, &name, &digest))
        rl_free(digest);
    rl_map_fini(&b->files);
}

static void clear(rl_ballot *b)
{
    forget_files(b);
    rl_free(b->why);
    rl_free(b->votes);
    b->why = b->votes = NULL;
}

static void begin(rl_ballot *b)
{
    clear(b);
    b->attempt++;
    b->voted = b->agreed = 0;
    b->torn = false;
    b->votes = rl_calloc(b->workers, 1);
}

void rl_ballot_hold(rl_ballot *b, rl_change what, unsigned workers)
{
    b->what = what;
    b->workers = workers;
    b->tears = 0;
    begin(b);
}

void rl_ballot_hold_again(rl_ballot *b)
{
    b->tears++;
    begin(b);
}

static void refuse(rl_ballot *b, unsigned worker, char *why)
{
    if (b->why) {
        rl_free(why);
        return;
    }
    b->why = why;
    b->who = worker;
}

static rl_verdict verdict(rl_ballot *b)
{
    if (b->voted < b->workers)
        return RL_VERDICT_OPEN;
    if (b->torn && b->tears < MOST_TEARS)
        return RL_VERDICT_AGAIN;
    if (b->torn && !b->why)
        refuse(b, 0, rl_strdup("its files change while the workers read them"));
    return b->why ? RL_VERDICT_NOT : RL_VERDICT_MAKE;
}

rl_verdict rl_ballot_vote(rl_ballot *b, unsigned worker, const rl_report *rep)
{
    if (rep->attempt != b->attempt || b->votes[worker])
        return RL_VERDICT_OPEN;
    b->votes[worker] = 1;
    b->voted++;
    if (rep->text) {
        refuse(b, worker, rl_strdup(rep->text));
    } else {
        b->agreed++;
        if (!rl_ballot_collect(b, &rep->loaded))
            b->torn = true;
    }
    return verdict(b);
}

void rl_ballot_end(rl_ballot *b, uint64_t patience)
{
    for (unsigned i = 0; i < b->workers; i++)
        if (!b->votes[i])
            refuse(b, i,
                   rl_sprintf("no word within %g s (reload_timeout): the code takes long to "
                              "load, or a handler does not let go of the thread",
                              (double)patience / 1000));
}

/* What only one of several could not do is likely about that one. */
char *rl_ballot_reason(const rl_ballot *b)
{
    return b->agreed ? rl_sprintf("worker %u: %s", b->who, b->why) : rl_strdup(b->why);
}

bool rl_ballot_collect(rl_ballot *b, const rl_loaded *loaded)
{
    bool same = true;

    for (size_t i = 0; i < loaded->nfiles; i++) {
        rl_str path = rl_str_of(loaded->files[i]);
        char *known = rl_map_get(&b->files, path);
        if (known)
            same &= strcmp(known, loaded->digests[i]) == 0;
        else
            rl_map_put(&b->files, path, rl_strdup(loaded->digests[i]));
    }
    return same;
}

char **rl_ballot_files(const rl_ballot *b, size_t *n)
{
    char **files = rl_calloc(b->files.len, sizeof(*files));
    size_t at = 0;
    rl_str name;
    void *digest;

    *n = 0;
    while (rl_map_next(&b->files, &at, &name, &digest))
        files[(*n)++] = rl_strndup(name.p, name.n);
    return files;
}

void rl_ballot_free_files(char **files, size_t n)
{
    while (n)
        rl_free(files[--n]);
    rl_free(files);
}

void rl_ballot_fini(rl_ballot *b)
{
    clear(b);
}
