#include "mqtt/exchange.h"

#include <stdio.h>
#include <string.h>

enum { NUMBERS = UINT16_MAX + 1 };

void rl_mqtt_exchange_fini(rl_mqtt_exchange *x)
{
    rl_free(x->held);
    *x = (rl_mqtt_exchange){0};
}

/* Client ID received PUBLISH (d0, q2, r0, m7, 'topic', … (3 bytes)) */
void rl_mqtt_exchange_read(rl_mqtt_exchange *x, const char *id, const char *line)
{
    static const char before[] = "Client ", behind[] = " received PUBLISH ";
    size_t n = strlen(id);
    int dup, qos, retain, mid;

    if (strncmp(line, before, sizeof(before) - 1) != 0)
        return;
    line += sizeof(before) - 1;
    if (strncmp(line, id, n) != 0 || strncmp(line + n, behind, sizeof(behind) - 1) != 0)
        return;
    line += n + sizeof(behind) - 1;
    if (sscanf(line, "(d%d, q%d, r%d, m%d,", &dup, &qos, &retain, &mid) != 4 || qos != 2 ||
        mid < 0 || mid >= NUMBERS)
        return;
    if (!x->held)
        x->held = rl_calloc(NUMBERS, 1);
    if (x->held[mid]) {
        x->stale++;
    } else {
        x->held[mid] = 1;
        x->nheld++;
    }
}

bool rl_mqtt_exchange_release(rl_mqtt_exchange *x, int mid)
{
    if (!x->held || !x->held[mid]) {
        x->stale -= x->stale > 0;
        return false;
    }
    x->held[mid] = 0;
    x->nheld--;
    return true;
}
