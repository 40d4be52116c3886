#include "host/wish.h"

static rl_wish *of(rl_list *it)
{
    return RL_LIST_ENTRY(it, rl_wish, link);
}

void rl_wishes_init(rl_wishes *ws)
{
    rl_list_init(&ws->waiting);
    rl_list_init(&ws->granted);
}

void rl_wishes_fini(rl_wishes *ws)
{
    rl_list *it;

    while ((it = rl_list_pop(&ws->waiting)) || (it = rl_list_pop(&ws->granted)))
        rl_free(of(it));
}

void rl_wishes_add(rl_wishes *ws, const rl_wish *how)
{
    rl_wish *wish = rl_malloc(sizeof(*wish));

    *wish = *how;
    rl_list_init(&wish->link);
    rl_list_push(&ws->waiting, &wish->link);
}

static void end(rl_wish *wish, bool done, const char *text)
{
    if (wish->told)
        wish->told(wish->arg, done, text);
    rl_free(wish);
}

bool rl_wishes_grant(rl_wishes *ws, unsigned serving, rl_change *what)
{
    rl_list *it;

    while ((it = rl_list_first(&ws->waiting)) && of(it)->only && of(it)->only != serving) {
        rl_list_remove(it);
        end(of(it), false, "another generation serves by now");
    }
    if (!it)
        return false;
    *what = of(it)->what;
    do {
        rl_list_remove(it);
        rl_list_push(&ws->granted, it);
        it = rl_list_first(&ws->waiting);
    } while (it && *what == RL_CHANGE_LOAD && of(it)->what == *what);
    return true;
}

void rl_wishes_tell(rl_wishes *ws, bool done, const char *text)
{
    rl_list *it;

    while ((it = rl_list_pop(&ws->granted)))
        end(of(it), done, text);
}

void rl_wishes_refuse(rl_wishes *ws, const char *why)
{
    rl_list *it;

    rl_wishes_tell(ws, false, why);
    while ((it = rl_list_pop(&ws->waiting)))
        end(of(it), false, why);
}

static void forget(rl_list *wishes, const void *arg)
{
    RL_LIST_EACH (it, wishes)
        if (of(it)->arg == arg)
            of(it)->told = NULL;
}

void rl_wishes_forget(rl_wishes *ws, const void *arg)
{
    forget(&ws->waiting, arg);
    forget(&ws->granted, arg);
}
