#include "host/report.h"

static void free_strings(char **list, size_t n)
{
    for (size_t i = 0; list && i < n; i++)
        rl_free(list[i]);
    rl_free(list);
}

void rl_report_free(rl_report *rep)
{
    free_strings(rep->loaded.files, rep->loaded.nfiles);
    free_strings(rep->loaded.digests, rep->loaded.nfiles);
    free_strings(rep->loaded.listen, rep->loaded.nlisten);
    rl_free(rep->loaded.admin);
    rl_free(rep->loaded.control);
    free_strings(rep->loaded.tls, rep->loaded.ntls);
    rl_free(rep->text);
    rl_free(rep);
}

static void on_report(rl_post *post)
{
    rl_report *rep = RL_CONTAINER_OF(post, rl_report, post);

    rep->from->fn(rep->from->arg, rep);
    rl_report_free(rep);
}

rl_report *rl_report_new(const rl_reporter *from, rl_news news)
{
    rl_report *rep = rl_calloc(1, sizeof(*rep));

    rep->post.fn = on_report;
    rep->from = from;
    rep->news = news;
    return rep;
}

void rl_report_send(rl_report *rep)
{
    if (!rl_loop_post(rep->from->main, &rep->post))
        rl_report_free(rep); /* the main thread is gone */
}

void rl_report_tell(const rl_reporter *from, rl_news news, const char *text)
{
    rl_report *rep = rl_report_new(from, news);

    rep->text = rl_strdup(text);
    rl_report_send(rep);
}
