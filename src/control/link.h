/* link.h - between a process and the one that takes over from it: packets, each with a descriptor
 * or without, through a pair of sockets that the new one inherits.
 *
 *     new                               old
 *     HELLO                     -->
 *                               <--     LISTENER for each socket that listens, then HAVE workers
 *     (loads, starts)
 *     READY                     -->     settles, packs
 *                               <--     CONNECTIONS, a few in each, then THAT_IS_ALL
 *     SERVING how many          -->     drains what is left, and ends
 *
 * Before READY the new one may say FAILED and why, or end: then the old one serves on. */
#ifndef RL_CONTROL_LINK_H
#define RL_CONTROL_LINK_H

#include "base/buf.h"
#include "base/err.h"

typedef enum rl_link_kind {
    RL_LINK_HELLO = 'h',
    RL_LINK_LISTENER = 'l', /* whose, flags (RL_LINK_TLS, …), address, path */
    RL_LINK_HAVE = 'w',
    RL_LINK_READY = 'r',
    RL_LINK_FAILED = 'f',
    RL_LINK_CONNECTIONS = 'c', /* worker, and of each what core/moving.h says */
    RL_LINK_THAT_IS_ALL = 'a',
    RL_LINK_SERVING = 's',
} rl_link_kind;

/* Whose a listener is: a worker's, by its number, or one of these. */
enum { RL_LINK_ADMIN = 1000, RL_LINK_CONTROL = 1001 };
enum { RL_LINK_TLS = 1, RL_LINK_PROXIED = 2 };

#define RL_LINK_FDS      64                /* descriptors of a packet */
#define RL_LINK_MAX      (192 * 1024)      /* bytes of a packet */
#define RL_LINK_VARIABLE "RILLE_TAKE_OVER" /* the inherited descriptor's number */

typedef struct rl_link_packet {
    char kind;
    rl_str bytes;         /* in the buffer it was received in */
    int fds[RL_LINK_FDS]; /* yours */
    unsigned nfds;
} rl_link_packet;

int rl_link_pair(int fds[2], rl_err *err) RL_MUST_USE;
/* fds are sent along, and stay the caller's. Waits for room, a few seconds. */
int rl_link_send(int link, rl_link_kind kind, rl_str bytes, const int *fds,
                 unsigned nfds) RL_MUST_USE;
/* 1: there is one; 0: not yet; negative: the other end has gone. Waits for it if asked to, for a
 * few seconds. */
int rl_link_receive(int link, bool wait, char buffer[RL_LINK_MAX], rl_link_packet *out);

#endif
