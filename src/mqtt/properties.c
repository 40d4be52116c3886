#include "mqtt/properties.h"

#include <mqtt_protocol.h>
#include <stdio.h>
#include <stdlib.h>

static int add(mosquitto_property **all, const rl_mqtt_properties *from)
{
    int rc = 0;

    if (from->content_type)
        rc |= mosquitto_property_add_string(all, MQTT_PROP_CONTENT_TYPE, from->content_type);
    if (from->response_topic)
        rc |= mosquitto_property_add_string(all, MQTT_PROP_RESPONSE_TOPIC, from->response_topic);
    if (from->correlation_data.p)
        rc |=
            mosquitto_property_add_binary(all, MQTT_PROP_CORRELATION_DATA, from->correlation_data.p,
                                          (uint16_t)from->correlation_data.n);
    if (from->message_expiry_interval > 0)
        rc |= mosquitto_property_add_int32(all, MQTT_PROP_MESSAGE_EXPIRY_INTERVAL,
                                           (uint32_t)from->message_expiry_interval);
    if (from->text)
        rc |= mosquitto_property_add_byte(all, MQTT_PROP_PAYLOAD_FORMAT_INDICATOR, 1);
    for (unsigned i = 0; i < from->nuser; i++)
        rc |= mosquitto_property_add_string_pair(all, MQTT_PROP_USER_PROPERTY, from->user[i].name,
                                                 from->user[i].value);
    return rc;
}

int rl_mqtt_properties_make(mosquitto_property **out, const rl_mqtt_properties *from, rl_err *err)
{
    mosquitto_property *all = NULL;

    if (from->correlation_data.n > UINT16_MAX)
        return rl_err_set(err, RL_EMQTT, "correlation_data has more than 65535 bytes");
    if (add(&all, from) != 0) {
        mosquitto_property_free_all(&all);
        return rl_err_set(err, RL_EMQTT,
                          "the properties are not what MQTT takes: at most 65535 bytes of UTF-8");
    }
    *out = all;
    return 0;
}

static void put(rl_buf *out, const char *name, rl_str key, rl_str value)
{
    rl_buf_printf(out, "%s:%zu:%zu:", name, key.n, value.n);
    rl_buf_add_str(out, key);
    rl_buf_add_str(out, value);
}

static void put_string(rl_buf *out, const char *name, const mosquitto_property *at, int id)
{
    char *value = NULL;

    if (!mosquitto_property_read_string(at, id, &value, false))
        return;
    put(out, name, RL_STR(""), rl_str_of(value));
    free(value);
}

static void put_number(rl_buf *out, const char *name, uint32_t value)
{
    char text[16];

    put(out, name, RL_STR(""),
        (rl_str){text, (size_t)snprintf(text, sizeof(text), "%u", (unsigned)value)});
}

void rl_mqtt_properties_flat(const mosquitto_property *at, rl_buf *out)
{
    for (; at; at = mosquitto_property_next(at)) {
        int id = mosquitto_property_identifier(at);
        char *name = NULL, *text = NULL;
        void *bytes = NULL;
        uint32_t seconds = 0;
        uint16_t n = 0;
        uint8_t format = 0;

        if (id == MQTT_PROP_CONTENT_TYPE)
            put_string(out, "content_type", at, id);
        else if (id == MQTT_PROP_RESPONSE_TOPIC)
            put_string(out, "response_topic", at, id);
        else if (id == MQTT_PROP_CORRELATION_DATA &&
                 mosquitto_property_read_binary(at, id, &bytes, &n, false))
            put(out, "correlation_data", RL_STR(""), (rl_str){bytes ? bytes : "", n});
        else if (id == MQTT_PROP_MESSAGE_EXPIRY_INTERVAL &&
                 mosquitto_property_read_int32(at, id, &seconds, false))
            put_number(out, "message_expiry_interval", seconds);
        else if (id == MQTT_PROP_PAYLOAD_FORMAT_INDICATOR &&
                 mosquitto_property_read_byte(at, id, &format, false))
            put_number(out, "payload_format_indicator", format);
        else if (id == MQTT_PROP_USER_PROPERTY &&
                 mosquitto_property_read_string_pair(at, id, &name, &text, false))
            put(out, "user_property", rl_str_of(name), rl_str_of(text));
        free(bytes);
        free(name);
        free(text);
    }
}
