/* ws_extensions.h - what a client offers in Sec-WebSocket-Extensions (RFC 6455 section 9.1), and
 * what is agreed to: permessage-deflate (RFC 7692 section 7.1), or nothing.
 *
 * Offers are looked at in the order they came; the first that will do is taken. One that asks for
 * what cannot be had, or says anything unknown, twice or wrongly, is passed over: that is no error.
 * A header that is not a list of extensions is one (section 9.1: fail the connection). */
#ifndef RL_PROTO_WS_EXTENSIONS_H
#define RL_PROTO_WS_EXTENSIONS_H

#include "proto/deflate.h"
#include "proto/http_head.h"

/* Is what the client says of extensions, if it says anything, a list of them? */
bool rl_ws_extensions_valid(const rl_http_head *head);

/* False: no extension is agreed to. Else the terms, and for the response a header's line. */
bool rl_ws_extensions_agree(const rl_http_head *head, const rl_deflate_settings *settings,
                            rl_deflate_terms *terms, rl_buf *line);

#endif
