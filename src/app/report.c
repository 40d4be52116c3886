#include "app/report.h"

static void free_strings(char **list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        rl_free(list[i]);
    rl_free(list);
}

void rl_report_free(rl_report *rep)
{
    free_strings(rep->loaded.files, rep->loaded.nfiles);
    free_strings(rep->loaded.listen, rep->loaded.nlisten);
    rl_free(rep->text);
    rl_free(rep);
}

static void on_report(rl_post *post)
{
    rl_report *rep = RL_CONTAINER_OF(post, rl_report, post);
    const rl_runner_events *ev = &rep->to->events;
    void *arg = rep->to->arg;

    switch (rep->news) {
    case RL_NEWS_LOADED:
        ev->on_loaded(arg, &rep->loaded);
        break;
    case RL_NEWS_SERVING:
        ev->on_serving(arg);
        break;
    case RL_NEWS_RELOADED:
        ev->on_reloaded(arg, &rep->loaded);
        break;
    case RL_NEWS_RELOAD_FAILED:
        ev->on_reload_failed(arg, rep->text);
        break;
    case RL_NEWS_PRINTED:
        ev->on_printed(arg, rep->text);
        break;
    case RL_NEWS_FAILED:
        ev->on_failed(arg, rep->text);
        break;
    case RL_NEWS_STOPPED:
        ev->on_stopped(arg, rep->status);
        break;
    }
    rl_report_free(rep);
}

rl_report *rl_report_new(const rl_reporter *to, rl_news news)
{
    rl_report *rep = rl_calloc(1, sizeof(*rep));

    rep->post.fn = on_report;
    rep->to = to;
    rep->news = news;
    return rep;
}

void rl_report_send(rl_report *rep)
{
    if (!rl_loop_post(rep->to->main, &rep->post))
        rl_report_free(rep); /* the main thread is gone */
}

void rl_report_tell(const rl_reporter *to, rl_news news, const char *text)
{
    rl_report *rep = rl_report_new(to, news);

    rep->text = rl_strdup(text);
    rl_report_send(rep);
}
