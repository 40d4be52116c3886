/* The channel layer. Messages come encoded (string.buffer); nothing here waits. */
#include "bind/bind_layer.h"

#include "core/inbox.h"
#include "layer/exchange.h"
#include "proto/utf8.h"

/* Raises what a name may be, and where this one is not so. */
static void refuse_name(lua_State *L, int arg, rl_str name, const char *what)
{
    size_t at = rl_layer_name_fault(name);

    if (name.n == 0 || name.n > RL_LAYER_NAME_MAX)
        lua_pushfstring(L, "%s; this one has %d", what, (int)name.n);
    else if (name.p[at] > ' ' && name.p[at] < 127)
        lua_pushfstring(L, "%s; not '%c' (at %d)", what, name.p[at], (int)at + 1);
    else
        lua_pushfstring(L, "%s; not the byte %d (at %d)", what, (unsigned char)name.p[at],
                        (int)at + 1);
    luaL_argerror(L, arg, lua_tostring(L, -1));
}

rl_str rl_check_group(lua_State *L, int arg)
{
    rl_str name = rl_check_str(L, arg);

    if (RL_UNLIKELY(!rl_layer_valid_group(name)))
        refuse_name(L, arg, name,
                    "a group's name has 1 to 99 letters, digits, hyphens, underscores or dots");
    return name;
}

rl_str rl_check_channel(lua_State *L, int arg)
{
    rl_str name = rl_check_str(L, arg);

    if (RL_UNLIKELY(!rl_layer_valid_channel(name)))
        refuse_name(L, arg, name,
                    "a channel's name has 1 to 99 letters, digits, hyphens, underscores or dots, "
                    "and at most one !, not in front");
    return name;
}

/* Joining and leaving for a channel of another worker: parked until that has told. */

struct placing {
    rl_task *task;
    rl_request *request;
};

static void cancel_placing(void *op)
{
    struct placing *p = op;

    rl_exchange_forget(p->request);
    rl_free(p);
}

static void on_placed(void *arg, bool found)
{
    struct placing *p = arg;

    lua_pushboolean(rl_task_stack(p->task), found);
    rl_task_wake(p->task, 1);
    rl_free(p);
}

/* Is it a channel of another worker's? Then L was parked, and this is what to return. */
static bool place_elsewhere(lua_State *L, rl_str group, rl_str channel, bool join, int *parked)
{
    rl_layer *layer = &rl_worker_of(L)->layer;

    if (!rl_exchange_has(layer, channel))
        return false;
    rl_task *t = rl_task_current(L);
    struct placing *p = rl_malloc(sizeof(*p));
    p->task = t;
    p->request = rl_exchange_ask(layer, group, channel, join, on_placed, p);
    *parked = rl_task_park(L, t, cancel_placing, p);
    return true;
}

/* join(group, channel) -> is there such a channel? Suspends for one of another worker. */
static int l_join(lua_State *L)
{
    rl_layer *layer = &rl_worker_of(L)->layer;
    rl_str group = rl_check_group(L, 1), name = rl_check_channel(L, 2);
    rl_channel *ch = rl_layer_find(layer, name);
    int parked;

    if (!ch && place_elsewhere(L, group, name, true, &parked))
        return parked;
    if (ch)
        rl_layer_join(layer, group, ch);
    lua_pushboolean(L, ch != NULL);
    return 1;
}

/* leave(group, channel) -> is there such a channel? Likewise. */
static int l_leave(lua_State *L)
{
    rl_layer *layer = &rl_worker_of(L)->layer;
    rl_str group = rl_check_group(L, 1), name = rl_check_channel(L, 2);
    rl_channel *ch = rl_layer_find(layer, name);
    int parked;

    if (!ch && place_elsewhere(L, group, name, false, &parked))
        return parked;
    if (ch)
        rl_layer_leave(layer, group, ch);
    lua_pushboolean(L, ch != NULL);
    return 1;
}

struct content {
    rl_str body, text, bytes;
    bool is_text, is_bytes;
};

/* Behind the name: the encoded table, and for websocket.send text or bytes. */
static struct content check_content(lua_State *L)
{
    struct content c = {rl_check_str(L, 2), rl_opt_str(L, 3), rl_opt_str(L, 4),
                        !lua_isnoneornil(L, 3), !lua_isnoneornil(L, 4)};

    luaL_argcheck(L, !c.is_text || rl_utf8_valid(c.text), 3,
                  "text is not UTF-8 (send it as bytes)");
    return c;
}

rl_message *rl_check_message(lua_State *L)
{
    struct content c = check_content(L);
    bool is_text = c.is_text, is_frame = is_text || c.is_bytes;
    char head[RL_WS_HEAD_MAX];
    rl_str payload = is_text ? c.text : c.bytes;
    size_t n = 0;

    if (is_frame)
        n = rl_ws_head(head, is_text ? RL_WS_OP_TEXT : RL_WS_OP_BINARY, payload.n);
    return rl_message_new(c.body, (rl_str){head, n}, payload);
}

int rl_push_receipt(lua_State *L, rl_receipt receipt, rl_message *m)
{
    rl_message_unref(m);
    lua_pushinteger(L, (lua_Integer)receipt.delivered);
    lua_pushinteger(L, (lua_Integer)receipt.dropped);
    return 2;
}

/* Where an object's last brace is, its place in the history is to stand. */
static rl_draft check_draft(lua_State *L, const rl_keep *keep)
{
    struct content c = check_content(L);
    rl_draft d = {c.body, c.is_text ? c.text : c.bytes,
                  c.is_text    ? RL_DRAFT_TEXT
                  : c.is_bytes ? RL_DRAFT_BYTES
                               : RL_DRAFT_TABLE};

    if (keep->stamp && d.kind != RL_DRAFT_TABLE && !rl_draft_is_object(&d))
        luaL_error(L, "what a group with a history sends to sockets is a JSON object, so that it "
                      "can say its offset (or the group has stamp = false)");
    return d;
}

static const rl_keep *find_keep(lua_State *L, rl_str group)
{
    const rl_layer *layer = &rl_worker_of(L)->layer;

    return layer->nrules && !lua_toboolean(L, 5) ? rl_layer_keep_of(layer, group) : NULL;
}

/* group_send(group, encoded, text or nil, bytes or nil, passing) -> delivered, dropped, and of a
 * group with a history offset, epoch. What is passing is not kept. */
static int l_group_send(lua_State *L)
{
    rl_str group = rl_check_group(L, 1);
    const rl_keep *keep = find_keep(L, group);

    if (keep) {
        rl_draft d = check_draft(L, keep);
        return rl_layer_send_kept(L, group, keep, &d);
    }
    rl_message *m = rl_check_message(L);

    return rl_push_receipt(L, rl_layer_group_send(&rl_worker_of(L)->layer, group, m), m);
}

/* send(channel, encoded, text or nil, bytes or nil) -> delivered, dropped */
static int l_send(lua_State *L)
{
    rl_layer *layer = &rl_worker_of(L)->layer;
    rl_str name = rl_check_channel(L, 1);
    rl_channel *to = rl_layer_find(layer, name);
    rl_message *m = rl_check_message(L);
    rl_receipt receipt = {0};

    if (to)
        receipt = rl_layer_send(layer, to, m);
    else if (!rl_exchange_send(layer, name, m, &receipt))
        rl_worker_of(L)->loop.counters.messages_astray++;
    return rl_push_receipt(L, receipt, m);
}

/* check_send(channel, …), check_group_send(group, …): raise what sending would raise, for those who
 * send later. */
static int l_check_send(lua_State *L)
{
    rl_check_channel(L, 1);
    check_content(L);
    return 0;
}

static int l_check_group_send(lua_State *L)
{
    const rl_keep *keep = find_keep(L, rl_check_group(L, 1));

    if (keep)
        check_draft(L, keep);
    else
        check_content(L);
    return 0;
}

/* count(group) -> members on all workers */
static int l_count(lua_State *L)
{
    rl_str group = rl_check_group(L, 1);

    lua_pushinteger(L, (lua_Integer)rl_layer_group_count(&rl_worker_of(L)->layer, group));
    return 1;
}

/* Members' names, of all workers: parked until those that have some have told. */

struct listing;

struct share {
    struct listing *listing;
    rl_request *request; /* NULL: told, or not asked */
};

struct listing {
    rl_task *task;
    rl_buf names;
    unsigned missing;
    struct share each[RL_EXCHANGE_MAX];
};

static void free_listing(struct listing *p)
{
    rl_buf_fini(&p->names);
    rl_free(p);
}

static void cancel_listing(void *op)
{
    struct listing *p = op;

    for (unsigned i = 0; i < RL_COUNT(p->each); i++)
        if (p->each[i].request)
            rl_exchange_forget(p->each[i].request);
    free_listing(p);
}

static void on_listed(void *arg, rl_str names)
{
    struct share *one = arg;
    struct listing *p = one->listing;

    one->request = NULL;
    rl_buf_add_str(&p->names, names);
    if (--p->missing)
        return;
    rl_vm_enter(p->task->vm);
    lua_pushlstring(rl_task_stack(p->task), rl_buf_str(&p->names).p, p->names.len);
    rl_vm_leave(p->task->vm);
    rl_task_wake(p->task, 1);
    free_listing(p);
}

/* members(group) -> names of channels on all workers, each with a newline behind it. Suspends for
 * other workers. */
static int l_members(lua_State *L)
{
    rl_layer *layer = &rl_worker_of(L)->layer;
    rl_str group = rl_check_group(L, 1);
    rl_task *t = rl_task_current(L);
    struct listing *p = rl_calloc(1, sizeof(*p));

    p->task = t;
    rl_layer_group_members(layer, group, &p->names);
    for (unsigned i = 0; rl_exchange_prefix(layer, i); i++) {
        p->each[i].listing = p;
        p->each[i].request = rl_exchange_list(layer, group, i, on_listed, &p->each[i]);
        p->missing += p->each[i].request != NULL;
    }
    if (p->missing)
        return rl_task_park(L, t, cancel_listing, p);
    rl_buf *names = rl_vm_draft(rl_vm_of(L)); /* pushing may raise */
    rl_buf_add_str(names, rl_buf_str(&p->names));
    free_listing(p);
    lua_pushlstring(L, rl_buf_str(names).p, names->len);
    rl_vm_free_draft(names);
    return 1;
}

/* new_channel(name or nil) -> the name of a channel that tasks may take messages from, until this
 * one ends */
static int l_new_channel(lua_State *L)
{
    const char *name = luaL_optstring(L, 1, NULL);
    rl_task *t = rl_task_running(L);
    luaL_argcheck(L, !name || (*name >= 'a' && *name <= 'z' && strlen(name) < 32), 1,
                  "a short word expected");
    rl_inbox *in = t ? rl_inbox_open(rl_worker_of(L), t, name) : NULL;

    if (!t)
        return luaL_error(L, "new_channel: no task is running, whose channel it would be");
    if (!in)
        return luaL_error(L, "new_channel: this task has %d channels already", RL_INBOXES_MAX);
    lua_pushstring(L, rl_inbox_name(in));
    return 1;
}

static int nobody(lua_State *L)
{
    rl_err err;

    rl_err_set(&err, RL_ECLOSED, "no task of this worker has the channel %s", lua_tostring(L, 1));
    return rl_failure(L, &err);
}

/* take(channel) -> the first message that waits there, encoded | false: there is none | nil, error
 */
static int l_take(lua_State *L)
{
    rl_inbox *in = rl_inbox_find(rl_worker_of(L), rl_check_channel(L, 1));

    if (!in)
        return nobody(L);
    rl_message *m = rl_inbox_take(in);
    if (!m) {
        lua_pushboolean(L, false);
        return 1;
    }
    rl_vm_enter(rl_vm_of(L)); /* what is taken must not get lost */
    lua_pushlstring(L, m->body.p, m->body.n);
    rl_vm_leave(rl_vm_of(L));
    rl_message_unref(m);
    return 1;
}

/* await_message(channel) -> true: there may be one | nil, error */
static int l_await_message(lua_State *L)
{
    rl_inbox *in = rl_inbox_find(rl_worker_of(L), rl_check_channel(L, 1));
    rl_task *t = rl_task_current(L);

    return in ? rl_waiters_park(rl_inbox_waiters(in), L, t) : nobody(L);
}

static const luaL_Reg functions[] = {
    {"join", l_join},   /* yields */
    {"leave", l_leave}, /* yields */
    {"group_send", l_group_send},
    {"send", l_send},
    {"count", l_count},
    {"members", l_members}, /* yields */
    {"new_channel", l_new_channel},
    {"take", l_take},
    {"await_message", l_await_message}, /* yields */
    {"check_send", l_check_send},
    {"check_group_send", l_check_group_send},
    {NULL, NULL},
};

int rl_open_layer(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    rl_open_layer_outside(L);
    rl_open_layer_history(L);
    lua_pushstring(L, rl_worker_of(L)->layer.prefix);
    lua_setfield(L, -2, "prefix"); /* with the id behind it: a consumer's channel name */
    return 1;
}
