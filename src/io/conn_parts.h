/* conn_parts.h - what the files of conn.h know of each other; for nobody else. */
#ifndef RL_IO_CONN_PARTS_H
#define RL_IO_CONN_PARTS_H

#include "io/conn.h"

/* conn.c */
void rl_conn_doom(rl_conn *c, int error); /* errno; 0: the peer closed in order, or we do */
void rl_conn_rebury(rl_conn *c);          /* it was busy when its on_closed was due */
void rl_conn_update_mask(rl_conn *c);
void rl_conn_offer(rl_conn *c, char *p, size_t n);
void rl_conn_reached_eof(rl_conn *c);
void rl_conn_flush_now(rl_conn *c);
void rl_conn_settled(rl_conn *c, size_t left);            /* after a send: what it did not take */
void rl_conns_lend(rl_conns *all, rl_buf *out, size_t n); /* a cork buffer with room for n more */
void rl_conns_take_back(rl_conns *all, rl_buf *out);

/* conn_slow.c */
void rl_conn_await_reader(
    rl_conn *c); /* something waits to be sent: see that it does not for ever */
void rl_conn_on_stalled(rl_timeout *t);
void rl_conn_on_lingered(rl_timeout *t);

/* conn_address.c */
void rl_conn_forget(rl_conn *c); /* what its proxy told */

/* conn_tls.c, each for a connection that has c->tls */
void rl_conn_tls_open(rl_conn *c, rl_tls *keys);
void rl_conn_tls_free(rl_conn *c);
void rl_conn_tls_readable(rl_conn *c);
void rl_conn_tls_flush(rl_conn *c);               /* one send */
uint32_t rl_conn_tls_under_way(const rl_conn *c); /* in the kernel, but not yet `delivered` */
const char *rl_conn_tls_why(const rl_conn *c);    /* NULL: nothing was wrong with it */

#endif
