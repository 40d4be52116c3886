/* QoS 2 as libmosquitto does it: a message that was published twice is handed out once. */
#include "unit.h"

#include "mqtt/exchange.h"

static void publish(rl_mqtt_exchange *x, int qos, int mid)
{
    char line[100];

    snprintf(line, sizeof(line),
             "Client a b received PUBLISH (d0, q%d, r0, m%d, 'x', ... (3 bytes))", qos, mid);
    rl_mqtt_exchange_read(x, "a b", line);
}

static void lets_each_out_once(void)
{
    rl_mqtt_exchange x = {0};

    CHECK(!rl_mqtt_exchange_release(&x, 1)); /* it was never published */
    publish(&x, 2, 1);
    publish(&x, 2, 65535);
    CHECK_INT(x.nheld, 2);
    CHECK(rl_mqtt_exchange_release(&x, 1));
    CHECK(!rl_mqtt_exchange_release(&x, 1));
    publish(&x, 2, 1); /* its number is given to another one */
    CHECK(rl_mqtt_exchange_release(&x, 1));
    CHECK_INT(x.nheld, 1);
    CHECK_INT(x.stale, 0);
    rl_mqtt_exchange_fini(&x);
}

static void knows_a_stale_copy(void)
{
    rl_mqtt_exchange x = {0};

    publish(&x, 2, 7);
    publish(&x, 2, 7); /* after a reconnect */
    CHECK_INT(x.stale, 1);
    CHECK(rl_mqtt_exchange_release(&x, 7));
    CHECK_INT(x.nheld, 0);
    CHECK(!rl_mqtt_exchange_release(&x, 7)); /* a repeated PUBREL */
    CHECK_INT(x.stale, 0);
    rl_mqtt_exchange_fini(&x);
}

static void reads_nothing_else(void)
{
    static const char *const lines[] = {
        "",
        "Client a",
        "Client a b",
        "Client a b received PUBLISH ",
        "Client a b received PUBLISH (d0, q2, r0, m70000, 'x'",
        "Client a b received PUBLISH (d0, q2, r0, m-1, 'x'",
        "Client a b sending PUBLISH (d0, q2, r0, m1, 'x'",
        "Client other received PUBLISH (d0, q2, r0, m1, 'x'",
    };
    rl_mqtt_exchange x = {0};

    for (size_t i = 0; i < RL_COUNT(lines); i++)
        rl_mqtt_exchange_read(&x, "a b", lines[i]);
    publish(&x, 0, 0);
    publish(&x, 1, 3);
    CHECK_INT(x.nheld, 0);
    CHECK(x.held == NULL);
    rl_mqtt_exchange_fini(&x);
}

int main(void)
{
    lets_each_out_once();
    knows_a_stale_copy();
    reads_nothing_else();
    return unit_done();
}
