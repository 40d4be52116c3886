/* failure.h - what a consumer's failed handler has to say: who, where, in which event, for whom,
 * and the traceback. But for rl_failure_page() nothing here runs Lua, since the error may be of any
 * kind and the stack full. co is the failed coroutine with the error on top, not yet unwound. */
#ifndef RL_CORE_FAILURE_H
#define RL_CORE_FAILURE_H

#include "core/consumer.h"

/* Is the error of this class of rille.errors? */
bool rl_failure_is(lua_State *co, const char *class_name);
/* Nobody's fault: the connection is closing or gone, or the task was cancelled for it. */
bool rl_failure_is_quiet(const rl_consumer *c, lua_State *co);
/* The error's message: "" unless it is one of rille's. Valid while the error is. */
rl_str rl_failure_message(lua_State *co);

/* "Chat on /ws/<room>" of a bound consumer, "a consumer on notify orders" of what one is made of.
 */
void rl_failure_name(const rl_consumer *c, rl_buf *out);
void rl_failure_tell(const rl_consumer *c, lua_State *co, rl_buf *out);
void rl_failure_log(const rl_consumer *c, lua_State *co);
/* The same words as a page, when it is a browser that waits for the answer and dispatch.page can
 * make one. Runs Lua: the failed coroutine has to be done with. */
bool rl_failure_page(const rl_consumer *c, rl_str words, rl_buf *page);
/* It returned, and left the request without an answer. */
void rl_failure_log_silence(const rl_consumer *c);
/* So many events found no room. */
void rl_failure_log_drops(const rl_consumer *c, unsigned n);

/* What came found no room or waited too long, n times since that was said last. */
void rl_failure_log_full(const rl_consumer *c, const char *limit, uint64_t n);
/* It was awaited, and is cancelled now. */
void rl_failure_log_cut(const rl_consumer *c);
/* It did not answer in time. */
void rl_failure_log_late(const rl_consumer *c, const char *limit);

#endif
