/* control.h - what is spoken on a control socket, by `rille reload` and the others with a process
 * that serves.
 *
 *     frame = length (4 bytes, big endian) kind (1 byte) payload
 *
 * The length is that of kind and payload, from 1 to RL_CONTROL_MAX. A request of the client is
 * answered by any number of OUTPUT and TROUBLE, then one DONE, whose payload is one of the
 * outcomes. Only then may the next request be sent; but INTERRUPT comes in between, and has no
 * answer of its own. Whoever sends something else is hung up on.
 *
 *     client                                server
 *     RELOAD, ROLLBACK, PROMOTE             what became of it
 *     UPGRADE program file, or ""           likewise
 *     STATUS "text" or "json"               OUTPUT
 *     ATTACH worker's number, or ""         a session: from now on also
 *       EVAL code, or a :command            OUTPUT as it is made; or a DONE that says MORE: the
 *                                           code goes on in a next line
 *       COMPLETE what is left of the cursor OUTPUT: words that may stand for the last, each a line
 *
 * Bytes in, frames out; the sockets are elsewhere (control/control.h, control/remote.h). */
#ifndef RL_PROTO_CONTROL_H
#define RL_PROTO_CONTROL_H

#include "base/buf.h"
#include "base/err.h"

#include <sys/types.h>

#define RL_CONTROL_MAX (1024 * 1024)

typedef enum rl_control_kind {
    RL_CONTROL_RELOAD = 'r',
    RL_CONTROL_ROLLBACK = 'b',
    RL_CONTROL_PROMOTE = 'p',
    RL_CONTROL_UPGRADE = 'u',
    RL_CONTROL_STATUS = 's',
    RL_CONTROL_ATTACH = 'a',
    RL_CONTROL_EVAL = 'e',
    RL_CONTROL_COMPLETE = 'c',
    RL_CONTROL_INTERRUPT = 'i',
    RL_CONTROL_OUTPUT = 'o',
    RL_CONTROL_TROUBLE = 't', /* for stderr */
    RL_CONTROL_DONE = 'd',
} rl_control_kind;

/* What DONE says. */
enum { RL_CONTROL_OK = '0', RL_CONTROL_FAILED = '1', RL_CONTROL_MORE = '2' };

typedef struct rl_control_frame {
    char kind;
    rl_str payload; /* borrowed of what was read */
} rl_control_frame;

/* The first frame of what was read: how many bytes it takes; 0: it is not whole yet; RL_EPROTO or
 * RL_ETOOBIG: these are no frames. */
ssize_t rl_control_take(rl_str data, rl_control_frame *out);

/* The payload is cut off at the longest. */
void rl_control_put(rl_buf *out, rl_control_kind kind, rl_str payload);

#endif
