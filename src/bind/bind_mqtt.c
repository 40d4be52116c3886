/* MQTT: a broker's handle is its number in worker.brokers. */
#include "bind/bind.h"

#include "core/mqtt.h"
#include "mqtt/properties.h"

#define HANDLE "rille.Broker"

enum { MAX_USER_PROPERTIES = 64 };

static rl_broker *check_broker(lua_State *L, int arg)
{
    unsigned *slot = luaL_checkudata(L, arg, HANDLE);
    rl_worker *w = rl_worker_of(L);

    luaL_argcheck(L, *slot < RL_MAX_BROKERS && w->brokers[*slot], arg, "the broker is closed");
    return w->brokers[*slot];
}

/* Fields of a table; what they give stays on the stack. */

static const char *text_field(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "%s: a string expected, got %s", name, luaL_typename(L, -1));
    return lua_tostring(L, -1);
}

static rl_str bytes_field(lua_State *L, int table, const char *name)
{
    const char *p = text_field(L, table, name);

    return (rl_str){p, lua_objlen(L, -1)};
}

static double number_field(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    double value = luaL_optnumber(L, -1, 0);
    lua_pop(L, 1);
    return value;
}

static bool bool_field(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    bool value = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

static void take_config(lua_State *L, int at, rl_mqtt_config *c)
{
    luaL_checktype(L, at, LUA_TTABLE);
    luaL_checkstack(L, 20, "settings");
    *c = (rl_mqtt_config){
        .name = text_field(L, at, "name"),
        .host = text_field(L, at, "host"),
        .port = (uint16_t)number_field(L, at, "port"),
        .ear_id = text_field(L, at, "ear_id"),
        .mouth_id = text_field(L, at, "mouth_id"),
        .user = text_field(L, at, "user"),
        .password = text_field(L, at, "password"),
        .v5 = bool_field(L, at, "v5"),
        .session = (uint32_t)number_field(L, at, "session"),
        .keepalive = (uint16_t)number_field(L, at, "keepalive"),
        .ack_timeout = (uint32_t)(number_field(L, at, "ack_timeout") * 1000),
        .tls = bool_field(L, at, "tls"),
        .ca = text_field(L, at, "ca"),
        .cert = text_field(L, at, "cert"),
        .key = text_field(L, at, "key"),
        .will = {.topic = text_field(L, at, "will_topic"),
                 .payload = bytes_field(L, at, "will_payload"),
                 .qos = (int)number_field(L, at, "will_qos"),
                 .retain = bool_field(L, at, "will_retain")},
    };
    luaL_argcheck(L, c->name && c->host && c->ear_id && c->mouth_id, at, "incomplete");
}

/* open(settings) -> handle | nil, error. Nothing is dialled yet. */
static int l_open(lua_State *L)
{
    rl_worker *w = rl_worker_of(L);
    rl_mqtt_config config;
    unsigned at = 0;
    rl_err err;

    lua_settop(L, 1);
    take_config(L, 1, &config);
    while (at < RL_MAX_BROKERS && w->brokers[at])
        at++;
    if (at == RL_MAX_BROKERS)
        return luaL_error(L, "more than %d brokers", RL_MAX_BROKERS);
    unsigned *slot = lua_newuserdata(L, sizeof(*slot));
    *slot = RL_MAX_BROKERS;
    luaL_getmetatable(L, HANDLE);
    lua_setmetatable(L, -2);
    if (rl_broker_open(&w->brokers[at], &w->loop, &config, &err) < 0)
        return rl_failure(L, &err);
    *slot = at;
    return 1;
}

/* close(handle): takes its leave of the broker, in its own time. */
static int l_close(lua_State *L)
{
    rl_broker *b = check_broker(L, 1);
    unsigned *slot = luaL_checkudata(L, 1, HANDLE);

    rl_worker *w = rl_worker_of(L);

    rl_broker_stats_of(b, &w->past_brokers);
    w->past_brokers.connections = w->past_brokers.unacknowledged = 0;
    w->brokers[*slot] = NULL;
    *slot = RL_MAX_BROKERS;
    rl_broker_close(b, NULL, NULL);
    return 0;
}

/* takes(topic, filter) -> is it a topic, or with true a filter, by the rules of MQTT? */
static int l_takes(lua_State *L)
{
    lua_pushboolean(L, rl_broker_takes(rl_check_str(L, 1), lua_toboolean(L, 2)));
    return 1;
}

/* listen(handle, filter, qos, id) -> true | nil, error: the consumer, one in the background, hears
 * what is published, until it leaves. */
static int l_listen(lua_State *L)
{
    rl_broker *b = check_broker(L, 1);
    rl_str filter = rl_check_str(L, 2);
    lua_Integer qos = luaL_checkinteger(L, 3);
    rl_consumer *c = rl_roster_find(&rl_worker_of(L)->roster, luaL_checknumber(L, 4));
    rl_err err;
    luaL_argcheck(L, rl_broker_takes(filter, true), 2, "a filter expected");
    luaL_argcheck(L, qos >= 0 && qos <= 2, 3, "0, 1 or 2");
    luaL_argcheck(L, !c || (c->kind == RL_CONSUMER_BACKGROUND && !c->source), 4,
                  "a consumer in the background without a source expected");

    int rc = c && c->state != RL_CONSUMER_LEAVING
                 ? rl_mqtt_open(c, b, filter, (int)qos, &err)
                 : rl_err_set(&err, RL_ECLOSED, "the consumer is gone");
    if (rc < 0)
        return rl_failure(L, &err);
    lua_pushboolean(L, true);
    return 1;
}

/* Waiting */

struct waiting {
    rl_task *task;
    rl_mqtt_wait *wait;
};

static void on_done(void *arg, const rl_err *err)
{
    struct waiting *op = arg;

    if (err) {
        rl_task_wake_err(op->task, err);
    } else {
        lua_pushboolean(rl_task_stack(op->task), true);
        rl_task_wake(op->task, 1);
    }
    rl_free(op);
}

static void cancel(void *arg)
{
    struct waiting *op = arg;

    rl_mqtt_wait_cancel(op->wait);
    rl_free(op);
}

/* ready(handle) -> true | nil, error: once the connection that publishes is up */
static int l_ready(lua_State *L)
{
    rl_broker *b = check_broker(L, 1);
    rl_task *t = rl_task_current(L);
    rl_err err;

    rl_mqtt_mouth *m = rl_broker_mouth(b, &err);
    if (!m)
        return rl_failure(L, &err);
    struct waiting *op = rl_calloc(1, sizeof(*op));
    op->task = t;
    op->wait = rl_mqtt_mouth_ready(m, on_done, op);
    if (op->wait)
        return rl_task_park(L, t, cancel, op);
    rl_free(op);
    lua_pushboolean(L, true);
    return 1;
}

/* The list of { name, value } at the top. */
static void take_user(lua_State *L, rl_mqtt_pair *pairs, rl_mqtt_properties *to)
{
    size_t n = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;

    if (n > MAX_USER_PROPERTIES)
        luaL_error(L, "more than %d user properties", MAX_USER_PROPERTIES);
    luaL_checkstack(L, 3 * MAX_USER_PROPERTIES, "user properties");
    int list = lua_gettop(L);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, list, (int)i + 1);
        luaL_checktype(L, -1, LUA_TTABLE);
        int pair = lua_gettop(L);
        lua_rawgeti(L, pair, 1);
        lua_rawgeti(L, pair, 2);
        pairs[i] = (rl_mqtt_pair){luaL_checkstring(L, -2), luaL_checkstring(L, -1)};
    }
    to->user = pairs;
    to->nuser = (unsigned)n;
}

/* publish(handle, topic, payload, qos, retain, properties or nil) -> true | nil, error: when it is
 * written (QoS 0), or the broker has it. user_properties is a list of { name, value }. */
static int l_publish(lua_State *L)
{
    rl_broker *b = check_broker(L, 1);
    rl_str topic = rl_check_str(L, 2);
    rl_mqtt_publication p = {.topic = topic.p, .payload = rl_check_str(L, 3)};
    rl_mqtt_pair pairs[MAX_USER_PROPERTIES];
    rl_mqtt_properties said = {0};
    mosquitto_property *properties = NULL;
    rl_err err;

    p.qos = (int)luaL_checkinteger(L, 4);
    p.retain = lua_toboolean(L, 5);
    luaL_argcheck(L, rl_broker_takes(topic, false), 2, "a topic expected");
    luaL_argcheck(L, p.qos >= 0 && p.qos <= 2, 4, "0, 1 or 2");
    if (!lua_isnoneornil(L, 6)) {
        luaL_checktype(L, 6, LUA_TTABLE);
        said.content_type = text_field(L, 6, "content_type");
        said.response_topic = text_field(L, 6, "response_topic");
        said.correlation_data = bytes_field(L, 6, "correlation_data");
        said.message_expiry_interval = number_field(L, 6, "message_expiry_interval");
        said.text = number_field(L, 6, "payload_format_indicator") == 1;
        lua_getfield(L, 6, "user_properties");
        take_user(L, pairs, &said);
    }
    rl_task *t = rl_task_current(L);

    rl_mqtt_mouth *m = rl_broker_mouth(b, &err);
    if (!m || (!lua_isnoneornil(L, 6) && rl_mqtt_properties_make(&properties, &said, &err) < 0))
        return rl_failure(L, &err);
    struct waiting *op = rl_calloc(1, sizeof(*op));
    op->task = t;
    p.properties = properties;
    int rc = rl_mqtt_mouth_publish(m, &p, &op->wait, on_done, op, &err);
    mosquitto_property_free_all(&properties);
    if (rc == 0)
        return rl_task_park(L, t, cancel, op);
    rl_free(op);
    return rl_failure(L, &err);
}

static const luaL_Reg functions[] = {
    {"open", l_open},       {"close", l_close}, {"takes", l_takes},
    {"listen", l_listen},   {"ready", l_ready}, /* yields */
    {"publish", l_publish},                     /* yields */
    {NULL, NULL},
};

int rl_open_mqtt(lua_State *L)
{
    luaL_newmetatable(L, HANDLE);
    lua_pop(L, 1);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
