/* A ballot: all or none, the first reason, torn files, votes that come too late. */
#include "unit.h"

#include "host/ballot.h"

#include <string.h>

/* A vote of yes, which has read one file; or of no. */
static rl_verdict vote(rl_ballot *b, unsigned worker, const char *file, const char *digest,
                       const char *why)
{
    char *files[] = {(char *)(uintptr_t)file}, *digests[] = {(char *)(uintptr_t)digest};
    rl_report rep = {.attempt = b->attempt, .text = (char *)(uintptr_t)why};

    if (file) {
        rep.loaded.files = files;
        rep.loaded.digests = digests;
        rep.loaded.nfiles = 1;
    }
    return rl_ballot_vote(b, worker, &rep);
}

static bool gives(const rl_ballot *b, const char *wanted)
{
    char *reason = rl_ballot_reason(b);
    bool same = strcmp(reason, wanted) == 0;

    rl_free(reason);
    return same;
}

static void is_made_when_all_agree(void)
{
    rl_ballot b = {0};
    size_t n;

    rl_ballot_hold(&b, RL_CHANGE_LOAD, 3);
    CHECK_INT(vote(&b, 1, "a.lua", "1", NULL), RL_VERDICT_OPEN);
    CHECK_INT(vote(&b, 1, "a.lua", "1", NULL), RL_VERDICT_OPEN); /* twice is once */
    CHECK_INT(vote(&b, 0, "a.lua", "1", NULL), RL_VERDICT_OPEN);
    CHECK_INT(vote(&b, 2, "b.lua", "2", NULL), RL_VERDICT_MAKE); /* others may read others */
    char **files = rl_ballot_files(&b, &n);
    CHECK_INT(n, 2);
    rl_ballot_free_files(files, n);
    rl_ballot_fini(&b);
}

static void fails_with_the_first_reason(void)
{
    rl_ballot b = {0};

    rl_ballot_hold(&b, RL_CHANGE_LOAD, 3);
    CHECK_INT(vote(&b, 2, NULL, NULL, "no such module"), RL_VERDICT_OPEN);
    CHECK_INT(vote(&b, 0, NULL, NULL, "something else"), RL_VERDICT_OPEN);
    CHECK_INT(vote(&b, 1, NULL, NULL, "no such module"), RL_VERDICT_NOT);
    CHECK(gives(&b, "no such module"));

    rl_ballot_hold(&b, RL_CHANGE_LOAD, 2);
    CHECK_INT(vote(&b, 0, "a.lua", "1", NULL), RL_VERDICT_OPEN);
    CHECK_INT(vote(&b, 1, NULL, NULL, "only here"), RL_VERDICT_NOT);
    CHECK(gives(&b, "worker 1: only here"));
    rl_ballot_fini(&b);
}

static void is_held_again_when_a_file_was_read_in_two_ways(void)
{
    rl_ballot b = {0};
    unsigned held = 0;
    rl_verdict verdict;

    rl_ballot_hold(&b, RL_CHANGE_LOAD, 2);
    vote(&b, 0, "a.lua", "1", NULL);
    CHECK_INT(vote(&b, 1, "a.lua", "2", NULL), RL_VERDICT_AGAIN);
    rl_ballot_hold_again(&b);
    vote(&b, 0, "a.lua", "2", NULL);
    CHECK_INT(vote(&b, 1, "a.lua", "2", NULL), RL_VERDICT_MAKE);

    rl_ballot_hold(&b, RL_CHANGE_LOAD, 2);
    do {
        vote(&b, 0, "a.lua", "1", NULL);
        verdict = vote(&b, 1, "a.lua", "2", NULL);
        if (verdict == RL_VERDICT_AGAIN)
            rl_ballot_hold_again(&b);
        held++;
    } while (verdict == RL_VERDICT_AGAIN && held < 100);
    CHECK_INT(verdict, RL_VERDICT_NOT);
    CHECK(gives(&b, "worker 0: its files change while the workers read them"));
    rl_ballot_fini(&b);
}

static void hears_nobody_who_is_late(void)
{
    rl_ballot b = {0};

    rl_ballot_hold(&b, RL_CHANGE_LOAD, 2);
    vote(&b, 0, "a.lua", "1", NULL);
    rl_report late = {.attempt = b.attempt};
    rl_ballot_end(&b, 2500);
    char *reason = rl_ballot_reason(&b);
    CHECK(strstr(reason, "worker 1: no word within 2.5 s (reload_timeout)") == reason);
    rl_free(reason);
    rl_ballot_hold(&b, RL_CHANGE_LOAD, 2);
    CHECK_INT(rl_ballot_vote(&b, 1, &late), RL_VERDICT_OPEN);
    CHECK_INT(b.voted, 0);
    rl_ballot_fini(&b);
}

int main(void)
{
    is_made_when_all_agree();
    fails_with_the_first_reason();
    is_held_again_when_a_file_was_read_in_two_ways();
    hears_nobody_who_is_late();
    return unit_done();
}
