/* event.h - what waits in a consumer's mailbox. */
#ifndef RL_CORE_EVENT_H
#define RL_CORE_EVENT_H

#include "base/list.h"
#include "layer/layer.h"
#include "vm/task.h"

#include <lua.h>

typedef enum rl_event_kind {
    RL_EVENT_TEXT, /* from the client */
    RL_EVENT_BYTES,
    RL_EVENT_LAYER, /* a message of the layer */
    RL_EVENT_FIELDS /* a table made here */
} rl_event_kind;

/* A field of a table: a string, or without one a number. */
typedef struct rl_field {
    const char *name; /* static */
    rl_str text;
    double number;
} rl_field;

/* Whoever posted an event learns what became of it, once: its handler has ended, however (handled),
 * or was cancelled, or never began. Embedded first in the poster's own struct. Nothing may be
 * posted from within. */
typedef struct rl_outcome rl_outcome;

struct rl_outcome {
    rl_guard guard;
    void (*done)(rl_outcome *r, bool handled);
};

typedef struct rl_event {
    rl_list link;
    rl_event_kind kind;
    uint64_t queued;     /* ms, loop's clock: when it came to wait */
    size_t n;            /* bytes of the client's, or fields */
    const char *type;    /* FIELDS: static */
    rl_message *message; /* LAYER */
    rl_outcome *outcome; /* FIELDS, or NULL: nobody wants to know */
} rl_event;

/* All copy what they are given. */
rl_event *rl_event_of_client(bool text, rl_str data);
rl_event *rl_event_of_layer(rl_message *m);
rl_event *rl_event_of_fields(const char *type, const rl_field *fields, unsigned n);
void rl_event_free(rl_event *ev);
void rl_event_hand_over(rl_event *ev, rl_task *t); /* its outcome: from now on the task has it */

rl_str rl_event_data(const rl_event *ev);                   /* TEXT and BYTES */
void rl_event_push_table(const rl_event *ev, lua_State *L); /* FIELDS: with its type */

#endif
