#include "core/event.h"

/* What an event holds lies behind it, in one block. */
static rl_event *new_event(rl_event_kind kind, size_t bytes)
{
    rl_event *ev = rl_malloc(sizeof(*ev) + bytes);

    *ev = (rl_event){.kind = kind};
    rl_list_init(&ev->link);
    return ev;
}

rl_event *rl_event_of_client(bool text, rl_str data)
{
    rl_event *ev = new_event(text ? RL_EVENT_TEXT : RL_EVENT_BYTES, data.n);

    ev->n = data.n;
    memcpy(ev + 1, data.p, data.n);
    return ev;
}

rl_event *rl_event_of_layer(rl_message *m)
{
    rl_event *ev = new_event(RL_EVENT_LAYER, 0);

    ev->message = rl_message_ref(m);
    return ev;
}

rl_event *rl_event_of_fields(const char *type, const rl_field *fields, unsigned n)
{
    size_t bytes = 0;

    for (unsigned i = 0; i < n; i++)
        bytes += fields[i].text.n;
    rl_event *ev = new_event(RL_EVENT_FIELDS, n * sizeof(rl_field) + bytes);
    rl_field *copies = (rl_field *)(ev + 1);
    char *at = (char *)(copies + n);

    ev->type = type;
    ev->n = n;
    for (unsigned i = 0; i < n; i++) {
        copies[i] = fields[i];
        if (!fields[i].text.p)
            continue;
        memcpy(at, fields[i].text.p, fields[i].text.n);
        copies[i].text.p = at;
        at += fields[i].text.n;
    }
    return ev;
}

void rl_event_free(rl_event *ev)
{
    if (ev->kind == RL_EVENT_LAYER)
        rl_message_unref(ev->message);
    if (ev->outcome)
        ev->outcome->done(ev->outcome, false);
    rl_free(ev);
}

static void on_task_end(rl_guard *guard, rl_task *t)
{
    rl_outcome *r = RL_CONTAINER_OF(guard, rl_outcome, guard);

    r->done(r, !t->cancelled);
}

void rl_event_hand_over(rl_event *ev, rl_task *t)
{
    if (ev->outcome)
        rl_task_guard(t, &ev->outcome->guard, on_task_end);
    ev->outcome = NULL;
}

rl_str rl_event_data(const rl_event *ev)
{
    return (rl_str){(const char *)(ev + 1), ev->n};
}

void rl_event_push_table(const rl_event *ev, lua_State *L)
{
    const rl_field *fields = (const rl_field *)(ev + 1);

    lua_createtable(L, 0, (int)ev->n + 1);
    lua_pushliteral(L, "type");
    lua_pushstring(L, ev->type);
    lua_rawset(L, -3);
    for (size_t i = 0; i < ev->n; i++) {
        lua_pushstring(L, fields[i].name);
        if (fields[i].text.p)
            lua_pushlstring(L, fields[i].text.p, fields[i].text.n);
        else
            lua_pushnumber(L, fields[i].number);
        lua_rawset(L, -3);
    }
}
