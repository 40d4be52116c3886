#include "core/notify.h"

#include "db/listen.h"

struct hearing {
    rl_source source;
    rl_listen *listen;
};

static void on_note(void *arg, const rl_note *note)
{
    struct hearing *h = arg;
    const rl_field fields[] = {
        {.name = "channel", .text = note->channel},
        {.name = "payload", .text = note->payload},
        {.name = "pid", .number = note->pid},
    };

    if (note->kind == RL_NOTE_HEARD || note->kind == RL_NOTE_LOST)
        return;
    if (note->kind == RL_NOTE_GAP ||
        !rl_source_post(&h->source, "notify", fields, RL_COUNT(fields)))
        rl_source_remind(&h->source, "notify.gap", fields, 1);
}

static void close_hearing(rl_source *s)
{
    struct hearing *h = RL_CONTAINER_OF(s, struct hearing, source);

    rl_listen_close(h->listen);
    rl_free(h);
}

int rl_notify_open(rl_consumer *c, rl_db *db, rl_str channel, rl_err *err)
{
    struct hearing *h = rl_calloc(1, sizeof(*h));
    int rc = rl_listen_open(&h->listen, db, channel, on_note, h, err);

    if (rc < 0) {
        rl_free(h);
        return rc;
    }
    h->source.close = close_hearing;
    rl_background_feed(c, &h->source);
    return 0;
}
