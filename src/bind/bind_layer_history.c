/* Groups that keep what they were told: which, and how somebody comes back to one. */
#include "bind/bind_layer.h"

#include "proto/utf8.h"

#include <string.h>

enum { BATCH = 16 }; /* messages that one step of a recovery brings into Lua */

static void free_rules(rl_rule *rules, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        rl_free(rules[i].name);
    rl_free(rules);
}

static double number_field(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    double n = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return n;
}

static bool flag_field(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    bool on = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return on;
}

/* False: the table on top is no rule. */
static bool read_rule(lua_State *L, rl_rule *out)
{
    double size, ttl;

    if (!lua_istable(L, -1))
        return false;
    lua_getfield(L, -1, "name");
    size_t n = 0;
    const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : NULL;
    if (name)
        out->name = rl_strndup(name, n);
    lua_pop(L, 1);
    size = number_field(L, "size");
    ttl = number_field(L, "ttl");
    out->open = flag_field(L, "open");
    out->keep = (rl_keep){(unsigned)size, (uint64_t)(ttl * 1000), flag_field(L, "stamp")};
    return name && size >= 1 && size <= 1e6 && ttl > 0 && ttl <= 1e9;
}

/* rules({ { name =, open =, size =, ttl =, stamp = }, … }): which groups keep what, from now on */
static int l_rules(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    unsigned n = (unsigned)lua_objlen(L, 1);
    rl_rule *rules = rl_calloc(n ? n : 1, sizeof(*rules));

    for (unsigned i = 0; i < n; i++) {
        lua_rawgeti(L, 1, (int)i + 1);
        if (!read_rule(L, &rules[i])) {
            free_rules(rules, n);
            return luaL_argerror(L, 1, "no rule");
        }
        lua_pop(L, 1);
    }
    rl_worker_keep(rl_worker_of(L), rules, n);
    return 0;
}

static int push_mark(lua_State *L, rl_mark mark)
{
    char text[RL_EPOCH_SIZE];

    lua_pushstring(L, rl_epoch_text(mark.epoch, text));
    lua_pushnumber(L, (lua_Number)mark.offset);
    return 2;
}

int rl_layer_send_kept(lua_State *L, rl_str group, const rl_keep *keep, const rl_draft *d)
{
    rl_worker *w = rl_worker_of(L);
    rl_mark mark;
    rl_receipt receipt =
        rl_layer_group_add(&w->layer, group, keep, d, rl_loop_now(&w->loop), &mark);

    lua_pushinteger(L, (lua_Integer)receipt.delivered);
    lua_pushinteger(L, (lua_Integer)receipt.dropped);
    lua_pushnumber(L, (lua_Number)mark.offset);
    char text[RL_EPOCH_SIZE];
    lua_pushstring(L, rl_epoch_text(mark.epoch, text));
    return 4;
}

/* keeps(group) -> does it keep its history? */
static int l_keeps(lua_State *L)
{
    rl_str group = rl_check_group(L, 1);

    lua_pushboolean(L, rl_layer_keep_of(&rl_worker_of(L)->layer, group) != NULL);
    return 1;
}

/* mark(group) -> epoch, offset: where its history ends now */
static int l_mark(lua_State *L)
{
    rl_str group = rl_check_group(L, 1);

    return push_mark(L, rl_history_mark(rl_worker_of(L)->crew->history, group));
}

static rl_mark opt_mark(lua_State *L, int arg)
{
    rl_mark mark = {0};
    lua_Number offset = luaL_optnumber(L, arg + 1, 0);

    if (lua_isnoneornil(L, arg))
        return mark;
    luaL_argcheck(L, rl_epoch_read(rl_check_str(L, arg), &mark.epoch), arg, "no epoch");
    luaL_argcheck(L, offset >= 0 && offset <= 9007199254740992.0, arg + 1, "no offset");
    mark.offset = (uint64_t)offset;
    return mark;
}

/* [body, text or false, bytes or false] of each message into the table on top. */
static void add_items(lua_State *L, rl_message **all, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        rl_message *m = all[i];
        int at = 3 * (int)i;
        bool text = m->frame && (m->frame->data[0] & 15) == RL_WS_OP_TEXT;
        rl_str payload = m->frame ? rl_layer_payload(m->frame) : RL_STR("");
        lua_pushlstring(L, m->body.p, m->body.n);
        lua_rawseti(L, -2, at + 1);
        for (int k = 2; k <= 3; k++) {
            if (m->frame && text == (k == 2))
                lua_pushlstring(L, payload.p, payload.n);
            else
                lua_pushboolean(L, false);
            lua_rawseti(L, -2, at + k);
        }
    }
}

struct step {
    rl_message *out[BATCH];
    unsigned got;
};

/* May raise for want of memory: hence in a call of its own, so that the messages are let go. */
static int push_items(lua_State *L)
{
    struct step *step = lua_touserdata(L, 1);

    lua_createtable(L, 3 * (int)step->got, 0);
    add_items(L, step->out, step->got);
    return 1;
}

/* recover(group, channel, epoch or nil, offset, last) -> state, epoch, offset, was a member, items
 * | nil: the channel is gone. A step: "more" with items, after which it is to be called again with
 * the mark it gave; "gap", likewise, what was missed is gone; "level", it is a member now. Without
 * an epoch it begins `last` messages before the end. */
static int l_recover(lua_State *L)
{
    static const char *const states[] = {
        [RL_RECOVERY_LEVEL] = "level", [RL_RECOVERY_MORE] = "more", [RL_RECOVERY_GAP] = "gap"};
    rl_worker *w = rl_worker_of(L);
    rl_str group = rl_check_group(L, 1);
    rl_channel *ch = rl_layer_find(&w->layer, rl_check_str(L, 2));
    rl_mark since = opt_mark(L, 3);
    lua_Number last = luaL_optnumber(L, 5, 0);
    struct step step;

    luaL_argcheck(L, last >= 0 && last <= 1e9, 5, "no count");
    if (!ch)
        return 0;
    bool member = rl_layer_is_member(&w->layer, group, ch);
    rl_recovery found = rl_layer_recover(&w->layer, group, ch, &since, (uint64_t)last,
                                         rl_loop_now(&w->loop), step.out, BATCH, &step.got);
    lua_settop(L, 0);
    lua_pushcfunction(L, push_items);
    lua_pushlightuserdata(L, &step);
    int rc = step.got ? lua_pcall(L, 1, 1, 0) : 0;
    for (unsigned i = 0; i < step.got; i++)
        rl_message_unref(step.out[i]);
    if (rc)
        return lua_error(L);
    if (!step.got)
        lua_settop(L, 0);
    lua_pushstring(L, states[found]);
    push_mark(L, since);
    lua_pushboolean(L, member);
    if (!step.got)
        return 4;
    lua_pushvalue(L, 1);
    return 5;
}

/* note_recovery(recovered): for the figures */
static int l_note_recovery(lua_State *L)
{
    rl_history_note(rl_worker_of(L)->crew->history, lua_toboolean(L, 1));
    return 0;
}

/* send_placed(group, epoch, offset, encoded, text or nil, bytes or nil) -> delivered, dropped: to
 * this worker's members, what has its place in a history elsewhere */
static int l_send_placed(lua_State *L)
{
    rl_place place = {.group = rl_check_group(L, 1), .mark = opt_mark(L, 2)};
    rl_str body = rl_check_str(L, 4), text = rl_opt_str(L, 5), bytes = rl_opt_str(L, 6);
    bool is_text = !lua_isnoneornil(L, 5), is_frame = is_text || !lua_isnoneornil(L, 6);
    rl_shared *frame = NULL;
    char head[RL_WS_HEAD_MAX];

    luaL_argcheck(L, place.mark.epoch, 2, "no epoch");
    luaL_argcheck(L, !is_text || rl_utf8_valid(text), 5, "text is not UTF-8");
    if (is_frame) {
        rl_str payload = is_text ? text : bytes;
        size_t n = rl_ws_head(head, is_text ? RL_WS_OP_TEXT : RL_WS_OP_BINARY, payload.n);
        frame = rl_shared_new(n + payload.n);
        memcpy(frame->data, head, n);
        if (payload.n)
            memcpy(frame->data + n, payload.p, payload.n);
    }
    rl_message *m = rl_message_new_placed(body, &place, frame);
    rl_receipt receipt = rl_layer_group_send_here(&rl_worker_of(L)->layer, place.group, m);
    return rl_push_receipt(L, receipt, m);
}

/* part(group, channel) -> was it a member? It is none now, if it is a channel of this worker. */
static int l_part(lua_State *L)
{
    rl_layer *layer = &rl_worker_of(L)->layer;
    rl_str group = rl_check_group(L, 1);
    rl_channel *ch = rl_layer_find(layer, rl_check_channel(L, 2));
    bool member = ch && rl_layer_is_member(layer, group, ch);

    if (member)
        rl_layer_leave(layer, group, ch);
    lua_pushboolean(L, member);
    return 1;
}

static const luaL_Reg functions[] = {
    {"send_placed", l_send_placed},
    {"part", l_part},
    {"rules", l_rules},
    {"keeps", l_keeps},
    {"mark", l_mark},
    {"recover", l_recover},
    {"note_recovery", l_note_recovery},
    {NULL, NULL},
};

void rl_open_layer_history(lua_State *L)
{
    luaL_register(L, NULL, functions);
}
