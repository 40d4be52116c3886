/* limit_set.h - what a connection may take: the server's part, and what a route may have for
 * itself.
 *
 * The list with defaults, units and meanings is lua/rille/limits.lua; here are the same names,
 * filled in by it. Times are in ms. Where a limit can be off, 0 is off.
 *
 * Connections know the limits of their route by a small number, the set's place among the
 * server's; 0 is everybody's, which is always there. Connections outlive a reload, so a set is kept
 * for as long as anybody holds its place; equal ones are one. */
#ifndef RL_NET_LIMIT_SET_H
#define RL_NET_LIMIT_SET_H

#include "io/timeout.h"
#include "proto/ws.h"

typedef struct rl_server rl_server;

typedef enum rl_policy {
    RL_DROP_NEWEST,
    RL_POLICY_CLOSE, /* with 1013 */
    RL_DROP_OLDEST,  /* of a mailbox */
} rl_policy;

/* Of a route, or everybody's. */
typedef struct rl_limits {
    uint64_t max_body;
    uint64_t body_timeout, answer_timeout, handshake_timeout;
    uint64_t min_body_rate; /* bytes a second */
    uint64_t max_message, max_frame;
    uint64_t ping_interval, pong_timeout, idle_timeout;
    uint64_t max_connection_age;
    uint64_t max_control_frames; /* within a beat */
    uint64_t max_unsent;
    uint64_t mailbox;        /* events */
    uint64_t mailbox_expiry; /* of a message of the layer's */
    uint64_t unsent_policy, mailbox_policy;
} rl_limits;

/* A set as connections use it. */
typedef struct rl_limit_set {
    rl_limits of;
    rl_ws_rules ws_rules;
    rl_timeouts *beats; /* when a WebSocket is looked at: ping, idleness, age */
    rl_timeouts *pongs;
    rl_timeouts *bodies; /* NULL: off */
    unsigned holders;
} rl_limit_set;

#endif
