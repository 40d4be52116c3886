#include "core/failure.h"

#include "base/log.h"
#include "core/names.h"
#include "core/witness.h"

#include <string.h>

bool rl_failure_is(lua_State *co, const char *class_name)
{
    lua_State *L = rl_vm_of(co)->L; /* co's own stack may have run over */
    bool same = false;

    if (lua_type(co, -1) != LUA_TTABLE)
        return false;
    lua_xmove(co, L, 1);
    if (lua_getmetatable(L, -1)) {
        lua_pushliteral(L, "__name");
        lua_rawget(L, -2);
        same = lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), class_name) == 0;
        lua_pop(L, 2);
    }
    lua_xmove(L, co, 1);
    return same;
}

rl_str rl_failure_message(lua_State *co)
{
    lua_State *L = rl_vm_of(co)->L;
    rl_str message = {"", 0};

    if (lua_type(co, -1) != LUA_TTABLE)
        return message;
    lua_xmove(co, L, 1);
    lua_pushliteral(L, "message");
    lua_rawget(L, -2);
    if (lua_type(L, -1) == LUA_TSTRING)
        message.p = lua_tolstring(L, -1, &message.n); /* the table keeps it */
    lua_pop(L, 1);
    lua_xmove(L, co, 1);
    return message;
}

bool rl_failure_is_quiet(const rl_consumer *c, lua_State *co)
{
    return c->state == RL_CONSUMER_LEAVING &&
           (rl_failure_is(co, "Closed") || rl_failure_is(co, "Cancelled"));
}

/* Raw reads, no Lua runs. */
void rl_failure_name(const rl_consumer *c, rl_buf *out)
{
    lua_State *L = c->worker->vm.L;
    int top = lua_gettop(L);

    lua_rawgeti(L, LUA_REGISTRYINDEX, c->self);
    if (lua_istable(L, -1)) {
        const char *name = NULL;
        if (lua_getmetatable(L, -1)) { /* [self, class] */
            lua_pushliteral(L, "__name");
            lua_rawget(L, -2);
            name = lua_tostring(L, -1);
        }
        rl_buf_add_str(out, rl_str_of(name ? name : "a consumer"));
        lua_pushliteral(L, "scope");
        lua_rawget(L, top + 1);
        const char *route = c->worker->routes.at[c->route]->pattern;
        if (lua_istable(L, -1)) {
            lua_pushliteral(L, "_route");
            lua_rawget(L, -2);
            if (lua_isstring(L, -1))
                route = lua_tostring(L, -1);
        }
        if (*route)
            rl_buf_printf(out, " on %s", route);
    } else if (c->http) {
        const rl_http_head *head = rl_http_conn_head(c->http);
        rl_str method = rl_http_method(head), target = rl_http_target(head);
        rl_buf_printf(out, "%.*s %.*s", (int)method.n, method.p, (int)target.n, target.p);
    } else {
        rl_buf_add_str(out, RL_STR("a request"));
    }
    lua_settop(L, top);
}

void rl_failure_tell(const rl_consumer *c, lua_State *co, rl_buf *out)
{
    char host[RL_HOST_MAX];

    rl_failure_name(c, out);
    rl_buf_printf(out, " failed in %s", c->event);
    if (c->kind != RL_CONSUMER_BACKGROUND) {
        rl_address_text(&c->peer, host);
        rl_buf_printf(out, " for %s", *host ? host : "a local peer");
    }
    rl_buf_add_str(out, RL_STR(": "));
    rl_vm_describe_failure(co, out);
}

void rl_failure_log(const rl_consumer *c, lua_State *co)
{
    rl_buf text = {0};

    c->worker->loop.counters.handlers_failed++;
    c->worker->routes.at[c->route]->failed++;
    c->generation->failed++;
    rl_failure_tell(c, co, &text);
    rl_witness *witness = rl_witness_of(c->worker, c->id);
    rl_names_tell(c->worker, c);
    if (witness)
        witness->hear(witness, co, rl_buf_str(&text));
    else
        rl_error("%s", rl_buf_cstr(&text));
    rl_names_tell(c->worker, NULL);
    rl_buf_fini(&text);
}

static bool is_browser(const rl_http_head *head)
{
    rl_str accept;

    return rl_http_field_get(head, RL_STR("accept"), &accept) &&
           memmem(accept.p, accept.n, "text/html", 9) != NULL;
}

bool rl_failure_page(const rl_consumer *c, rl_str words, rl_buf *page)
{
    rl_worker *w = c->worker;
    lua_State *L = w->vm.L;
    const rl_http_head *head = rl_http_conn_head(c->http);
    rl_err err;
    size_t n;

    if (!is_browser(head))
        return false;
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->entries[RL_ENTRY_PAGE]);
    lua_pushlstring(L, words.p, words.n);
    lua_pushboolean(L, rl_str_eq(rl_http_method(head), RL_STR("GET")));
    if (rl_vm_call(&w->vm, 2, 1, NULL, &err) < 0)
        return false; /* plain words, then */
    const char *html = lua_tolstring(L, -1, &n);
    if (html)
        rl_buf_add(page, html, n);
    lua_pop(L, 1);
    return html != NULL;
}

void rl_failure_log_silence(const rl_consumer *c)
{
    rl_buf who = {0};

    rl_failure_name(c, &who);
    rl_names_tell(c->worker, c);
    rl_error("%s returned without an answer", rl_buf_cstr(&who));
    rl_names_tell(c->worker, NULL);
    rl_buf_fini(&who);
}

void rl_failure_log_drops(const rl_consumer *c, unsigned n)
{
    rl_buf who = {0};

    rl_failure_name(c, &who);
    rl_names_tell(c->worker, c);
    rl_warn("%s: %u event%s dropped, too many waited", rl_buf_cstr(&who), n, n == 1 ? "" : "s");
    rl_names_tell(c->worker, NULL);
    rl_buf_fini(&who);
}

void rl_failure_log_full(const rl_consumer *c, const char *limit, uint64_t n)
{
    rl_buf who = {0};

    rl_failure_name(c, &who);
    rl_warn("%s dropped a message (%s); so far unsaid: %llu", rl_buf_cstr(&who), limit,
            (unsigned long long)n);
    rl_buf_fini(&who);
}

void rl_failure_log_late(const rl_consumer *c, const char *limit)
{
    rl_buf who = {0};

    rl_failure_name(c, &who);
    rl_warn("%s did not answer in time (%s): 503", rl_buf_cstr(&who), limit);
    rl_buf_fini(&who);
}

void rl_failure_log_cut(const rl_consumer *c)
{
    rl_buf who = {0};

    c->worker->loop.counters.runs_cut++;
    rl_failure_name(c, &who);
    rl_warn("%s is cancelled in %s: the drain took too long", rl_buf_cstr(&who), c->event);
    rl_buf_fini(&who);
}
