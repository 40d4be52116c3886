/* Many receives and sends at once, with io_uring and without. */
#include "unit.h"

#include "io/batch.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAIRS = RL_BATCH_MAX };

struct peer {
    int near, far;
    char slot[8];
    char *at;
    ssize_t n;
    unsigned told;
};

static void note(void *owner, char *p, ssize_t n)
{
    struct peer *peer = owner;

    peer->at = p;
    peer->n = n;
    peer->told++;
}

static void open_pairs(struct peer *peers)
{
    for (int i = 0; i < PAIRS; i++) {
        int fds[2];
        CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
        peers[i] = (struct peer){.near = fds[0], .far = fds[1]};
    }
}

static void close_pairs(struct peer *peers)
{
    for (int i = 0; i < PAIRS; i++) {
        close(peers[i].near);
        close(peers[i].far);
    }
}

/* Each fourth has said nothing, each fourth has hung up, each fourth says more than fits. */
static void receives_from_all(void)
{
    struct peer peers[PAIRS];
    rl_batch *b = rl_batch_new(RL_BATCH_RECV, note);

    open_pairs(peers);
    for (int round = 1; round <= 2; round++) {
        for (int i = 0; i < PAIRS; i++) {
            if (i % 4 == 1)
                shutdown(peers[i].far, SHUT_WR);
            else if (i % 4)
                CHECK_INT(write(peers[i].far, "0123456789", i % 4 == 2 ? 3 : 10),
                          i % 4 == 2 ? 3 : 10);
            rl_batch_add(b, peers[i].near, peers[i].slot, sizeof(peers[i].slot), &peers[i]);
        }
        CHECK_INT(rl_batch_len(b), PAIRS);
        rl_batch_run(b);
        CHECK_INT(rl_batch_len(b), 0);
        for (int i = 0; i < PAIRS; i++) {
            static const ssize_t want[] = {-EAGAIN, 0, 3, 8};
            CHECK_INT(peers[i].told, round);
            CHECK_INT(peers[i].n, want[i % 4]);
            CHECK(peers[i].at == peers[i].slot);
        }
    }
    CHECK_MEM(peers[2].slot, 3, "012");
    rl_batch_free(b);
    close_pairs(peers);
}

/* The first reads, the second is gone, the third is full. */
static void sends_to_all(void)
{
    struct peer peers[PAIRS];
    rl_batch *b = rl_batch_new(RL_BATCH_SEND, note);
    char big[4096] = "word", got[8];

    open_pairs(peers);
    close(peers[1].far);
    while (write(peers[2].near, big, sizeof(big)) > 0)
        ;
    for (int i = 0; i < PAIRS; i++)
        rl_batch_add(b, peers[i].near, big, 4, &peers[i]);
    rl_batch_run(b);
    CHECK_INT(peers[1].n, -EPIPE);
    CHECK_INT(peers[2].n, -EAGAIN);
    for (int i = 0; i < PAIRS; i++) {
        CHECK_INT(peers[i].told, 1);
        if (i == 1 || i == 2)
            continue;
        CHECK_INT(peers[i].n, 4);
        CHECK_INT(read(peers[i].far, got, sizeof(got)), 4);
        CHECK_MEM(got, 4, "word");
    }
    rl_batch_add(b, peers[0].near, big, 4, &peers[0]); /* alone */
    rl_batch_run(b);
    CHECK_INT(peers[0].n, 4);
    rl_batch_free(b);
    peers[1].far = -1;
    close_pairs(peers);
}

int main(void)
{
    receives_from_all();
    sends_to_all();
    setenv("RILLE_IO_URING", "0", 1);
    receives_from_all();
    sends_to_all();
    return unit_done();
}
