/* counters.h - what a worker refused, dropped, cut off or interrupted, since it began.
 *
 * One struct per loop, written by its thread alone with plain additions, so read it there, too.
 * Every limit has a counter: a limit that is hit without a trace would be a riddle. The list is
 * written once, here; whoever shows the counters walks rl_counter_infos[].
 *
 *     loop->counters.stalled++;
 */
#ifndef RL_BASE_COUNTERS_H
#define RL_BASE_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

/* X(name, what it counts) */
#define RL_COUNTERS(X)                                                                         \
    X(accepted, "connections accepted")                                                        \
    X(refused_max_connections, "connections refused: max_connections")                         \
    X(refused_per_address, "connections refused: max_connections_per_address")                 \
    X(refused_descriptors, "connections refused: no file descriptor, or none to watch")        \
    X(proxies_distrusted, "connections refused: PROXY protocol, not one of trusted_proxies")   \
    X(proxy_headers_bad, "connections refused: a PROXY header that is none")                   \
    X(proxy_header_timeouts, "connections refused: no PROXY header within request_timeout")    \
    X(stalled, "connections cut: the peer read slower than min_send_rate")                     \
    X(lingered, "connections cut: the peer did not hang up after the last word")               \
    X(request_timeouts, "requests answered 408, or cut: no whole head within request_timeout") \
    X(body_timeouts, "requests cut: the body came slower than min_body_rate")                  \
    X(keepalive_timeouts, "connections closed: no further request within keepalive_timeout")   \
    X(answer_timeouts, "requests answered 503: no answer within answer_timeout")               \
    X(handshake_timeouts, "handshakes answered 503: not accepted within handshake_timeout")    \
    X(bad_requests, "requests answered 400, 501 or 505")                                       \
    X(too_long_heads, "requests answered 431: max_head, max_fields")                           \
    X(too_long_targets, "requests answered 414: max_target")                                   \
    X(too_long_bodies, "requests answered 413: max_body")                                      \
    X(ws_protocol_errors, "WebSockets closed with 1002")                                       \
    X(ws_bad_data, "WebSockets closed with 1007")                                              \
    X(ws_too_big, "WebSockets closed with 1009: max_message, max_frame")                       \
    X(ws_floods, "WebSockets closed with 1008: max_control_frames")                            \
    X(ws_pong_timeouts, "WebSockets cut: no answer to a ping within pong_timeout")             \
    X(ws_idle_timeouts, "WebSockets closed with 1001: no message within idle_timeout")         \
    X(ws_close_timeouts, "WebSockets cut: no close frame within close_timeout")                \
    X(aged, "connections closed: max_connection_age")                                          \
    X(pongs_dropped, "pongs not sent to a peer that reads nothing")                            \
    X(frames_dropped, "group messages not written: max_unsent")                                \
    X(unsent_closed, "WebSockets closed with 1013: max_unsent and unsent_policy")              \
    X(mailbox_dropped_newest, "events dropped on arrival: mailbox")                            \
    X(mailbox_dropped_oldest, "events dropped for a newer one: mailbox, mailbox_policy")       \
    X(mailbox_closed, "connections closed with 1013: mailbox, mailbox_policy")                 \
    X(mailbox_expired, "messages dropped that had waited too long: mailbox_expiry")            \
    X(mailbox_abandoned, "events dropped with their consumer, which had failed or left")       \
    X(messages_late, "messages dropped: their consumer had failed or was leaving")             \
    X(messages_astray, "messages dropped: nobody had the channel")                             \
    X(messages_crowded, "messages dropped: too many waited for another worker")                \
    X(mqtt_acked_early, "MQTT messages acknowledged before their handler ended: ack_timeout")  \
    X(mqtt_unrouted, "MQTT messages on a topic that no route is for")                          \
    X(timer_runs_skipped, "runs of timers skipped: the one before went on")                    \
    X(runs_cut, "runs of timers and of channels cancelled: the drain took too long")           \
    X(tasks_refused, "tasks not started: max_tasks")                                           \
    X(channel_dropped_newest, "messages to a background channel dropped: capacity")            \
    X(channel_dropped_oldest, "the same, the oldest for a newer one: policy")                  \
    X(channel_left, "messages that waited in a background channel at the end")                 \
    X(tasks_failed, "tasks that raised, and nobody waited for them")                           \
    X(handlers_failed, "handlers that raised")                                                 \
    X(handlers_interrupted, "scripts interrupted: handler_cpu_limit")                          \
    X(memory_refused, "allocations refused: memory_limit")

typedef struct rl_counters {
#define RL_X(name, what) uint64_t name;
    RL_COUNTERS(RL_X)
#undef RL_X
} rl_counters;

typedef struct rl_counter_info {
    const char *name;
    const char *what;
    size_t offset; /* in rl_counters */
} rl_counter_info;

extern const rl_counter_info rl_counter_infos[];
extern const size_t rl_counter_count;

static inline uint64_t rl_counter_at(const rl_counters *c, const rl_counter_info *info)
{
    return *(const uint64_t *)((const char *)c + info->offset);
}

#endif
