#include "io/peers.h"

#include "base/map.h"

#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

/* An address with at least one connection. */
struct place {
    unsigned count;
    uint8_t nbytes;
    char bytes[16];
};

static struct {
    pthread_mutex_t lock;
    rl_map places; /* by the address's bytes */
    struct place **by_fd;
    size_t nfds;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

static rl_address peer_of(int fd)
{
    struct sockaddr_storage addr = {0};
    socklen_t n = sizeof(addr);

    return getpeername(fd, (struct sockaddr *)&addr, &n) < 0
               ? (rl_address){.family = RL_ADDRESS_UNKNOWN}
               : rl_address_of_sockaddr(&addr);
}

static size_t key_of(const rl_address *a, char key[16])
{
    size_t n = a->family == RL_ADDRESS_IPV4 ? 4 : a->family == RL_ADDRESS_IPV6 ? 8 : 0;

    memcpy(key, a->bytes, n);
    return n;
}

static void reserve(size_t fd)
{
    if (fd < all.nfds)
        return;
    size_t more = fd * 2 > 256 ? fd * 2 : 256;
    all.by_fd = rl_realloc(all.by_fd, more * sizeof(*all.by_fd));
    memset(all.by_fd + all.nfds, 0, (more - all.nfds) * sizeof(*all.by_fd));
    all.nfds = more;
}

static bool enter(int fd, rl_str key, unsigned most)
{
    struct place *p = rl_map_get(&all.places, key);

    if (p && p->count >= most)
        return false;
    if (!p) {
        p = rl_calloc(1, sizeof(*p));
        p->nbytes = (uint8_t)key.n;
        memcpy(p->bytes, key.p, key.n);
        rl_map_put(&all.places, key, p);
    }
    p->count++;
    reserve((size_t)fd);
    all.by_fd[fd] = p;
    return true;
}

bool rl_peers_enter(int fd, const rl_address *client, unsigned most)
{
    rl_address a = client ? *client : peer_of(fd);
    char key[16];
    size_t n = key_of(&a, key);

    if (n == 0)
        return true;
    pthread_mutex_lock(&all.lock);
    bool entered = enter(fd, (rl_str){key, n}, most);
    pthread_mutex_unlock(&all.lock);
    return entered;
}

void rl_peers_leave(int fd)
{
    pthread_mutex_lock(&all.lock);
    struct place *p = (size_t)fd < all.nfds ? all.by_fd[fd] : NULL;
    if (p) {
        all.by_fd[fd] = NULL;
        if (--p->count == 0) {
            rl_map_remove(&all.places, (rl_str){p->bytes, p->nbytes});
            rl_free(p);
        }
    }
    if (all.by_fd && all.places.len == 0) { /* so that an end is clean */
        rl_map_fini(&all.places);
        rl_free(all.by_fd);
        all.by_fd = NULL;
        all.nfds = 0;
    }
    pthread_mutex_unlock(&all.lock);
}
