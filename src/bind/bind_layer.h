/* bind_layer.h - what the files of the layer's binding share: core.layer is one table. */
#ifndef RL_BIND_BIND_LAYER_H
#define RL_BIND_BIND_LAYER_H

#include "bind/bind.h"

/* Each raises at the argument what is wrong with it. */
rl_str rl_check_group(lua_State *L, int arg);
rl_str rl_check_channel(lua_State *L, int arg);
/* Arguments 2 to 4: the encoded table, and for websocket.send text or bytes. The message's frame is
 * made once for all who get it. One reference, yours. */
rl_message *rl_check_message(lua_State *L);

/* delivered, dropped; takes the reference. */
int rl_push_receipt(lua_State *L, rl_receipt receipt, rl_message *m);

/* Each puts its functions into the table on top. */
void rl_open_layer_outside(lua_State *L);
void rl_open_layer_history(lua_State *L);

/* Send to a group that keeps its history; [delivered, dropped, offset, epoch]. */
int rl_layer_send_kept(lua_State *L, rl_str group, const rl_keep *keep, const rl_draft *d);

#endif
