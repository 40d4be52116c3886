/* Slabs: pieces do not overlap, and what is given back is used again. */
#include "unit.h"

#include "base/slab.h"

enum { MANY = 5000, SIZE = 72 };

static char *pieces[MANY];

static void fill(rl_slab *s, int i)
{
    pieces[i] = rl_slab_take(s);
    memset(pieces[i], i % 251, SIZE);
}

static bool is_intact(int i)
{
    for (int j = 0; j < SIZE; j++)
        if (pieces[i][j] != (char)(i % 251))
            return false;
    return true;
}

static unsigned next_random(unsigned *seed)
{
    return (*seed = *seed * 1664525 + 1013904223) >> 8;
}

static void gives_every_byte_to_one(void)
{
    rl_slab s = {.size = SIZE};
    unsigned seed = 1;
    int broken = 0;

    for (int i = 0; i < MANY; i++)
        fill(&s, i);
    for (int round = 0; round < 20 * MANY; round++) {
        int i = (int)(next_random(&seed) % MANY);
        if (pieces[i]) {
            broken += !is_intact(i);
            rl_slab_give(&s, pieces[i]);
            pieces[i] = NULL;
        } else {
            fill(&s, i);
        }
    }
    unsigned out = 0;
    for (int i = 0; i < MANY; i++)
        out += pieces[i] != NULL;
    CHECK_INT(broken, 0);
    CHECK_INT(s.used, out);
    for (int i = 0; i < MANY; i++)
        rl_slab_give(&s, pieces[i]);
    CHECK_INT(s.used, 0);
    rl_slab_fini(&s);
}

static void gives_zeros_when_asked(void)
{
    rl_slab s = {.size = SIZE};
    char zeros[SIZE] = {0};

    fill(&s, 1);
    rl_slab_give(&s, pieces[1]);
    pieces[1] = rl_slab_zeroed(&s);
    CHECK(memcmp(pieces[1], zeros, SIZE) == 0);
    rl_slab_give(&s, pieces[1]);
    rl_slab_give(&s, NULL);
    rl_slab_fini(&s);
}

int main(void)
{
    gives_every_byte_to_one();
    gives_zeros_when_asked();
    return unit_done();
}
