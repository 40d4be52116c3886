/* Who is in which group: keys, connections, those that linger, and bytes. */
#include "unit.h"

#include "layer/presence.h"

static rl_presence *p;
static rl_buf metas;
static uint64_t seq;

static rl_presence_id id_of(const char *key, const char *channel)
{
    return (rl_presence_id){RL_STR("room"), rl_str_of(key), rl_str_of(channel)};
}

static rl_presence_change track(const char *key, const char *channel, const char *meta)
{
    rl_presence_id id = id_of(key, channel);
    rl_presence_news news = {.metas = &metas};

    rl_buf_clear(&metas);
    rl_presence_change change = rl_presence_track(p, &id, rl_str_of(meta), &news);
    if (change != RL_PRESENCE_SAME && change != RL_PRESENCE_FULL) {
        CHECK(news.seq > seq);
        seq = news.seq;
    }
    return change;
}

static rl_presence_change end(const char *key, const char *channel, bool lapse)
{
    rl_presence_id id = id_of(key, channel);
    rl_presence_news news = {.metas = &metas};

    rl_buf_clear(&metas);
    return lapse ? rl_presence_lapse(p, &id, &news) : rl_presence_untrack(p, &id, &news);
}

static void linger(const char *key, const char *channel)
{
    rl_presence_id id = id_of(key, channel);

    rl_presence_linger(p, &id);
}

static size_t count(void)
{
    rl_presence_figures f;

    rl_presence_figures_of(p, &f);
    return f.connections;
}

static void follows_keys(void)
{
    p = rl_presence_new();
    CHECK(track("ann", "c1", "x") == RL_PRESENCE_JOIN);
    CHECK_INT(metas.len, 2 * sizeof(size_t) + 4);
    CHECK_MEM(metas.data + 2 * sizeof(size_t), 4, "annx");
    CHECK(track("ann", "c1", "x") == RL_PRESENCE_SAME);
    CHECK(track("ann", "c1", "y") == RL_PRESENCE_UPDATE);
    CHECK(track("ann", "c2", "z") == RL_PRESENCE_UPDATE);
    CHECK_INT(metas.len, 2 * (2 * sizeof(size_t) + 4));
    CHECK(track("bob", "c1", "x") == RL_PRESENCE_JOIN);
    CHECK(end("ann", "c3", false) == RL_PRESENCE_SAME);
    CHECK(end("ann", "c1", false) == RL_PRESENCE_UPDATE);
    CHECK(end("ann", "c1", false) == RL_PRESENCE_SAME);
    CHECK(end("ann", "c2", false) == RL_PRESENCE_LEAVE);
    CHECK(end("eve", "c2", false) == RL_PRESENCE_SAME);
    CHECK_INT(count(), 1);
    rl_buf_clear(&metas);
    CHECK_INT(rl_presence_copy(p, RL_STR("nowhere"), &metas), seq + 2);
    CHECK_INT(metas.len, 0);
    rl_presence_free(p);
}

static void knows_who_comes_back(void)
{
    p = rl_presence_new();
    seq = 0;
    track("ann", "c1", "x");
    linger("ann", "c1");
    CHECK(track("ann", "c2", "x") == RL_PRESENCE_SAME);
    CHECK_INT(count(), 1);
    CHECK(end("ann", "c1", true) == RL_PRESENCE_SAME);
    CHECK(end("ann", "c2", true) == RL_PRESENCE_SAME); /* it does not linger */
    track("ann", "c3", "y");
    linger("ann", "c2");
    linger("ann", "c3");
    CHECK(track("ann", "c4", "x") == RL_PRESENCE_SAME); /* the one that said the same */
    CHECK(end("ann", "c2", true) == RL_PRESENCE_SAME);
    CHECK(end("ann", "c3", true) == RL_PRESENCE_UPDATE);
    linger("ann", "c4");
    CHECK(track("ann", "c5", "z") == RL_PRESENCE_UPDATE);
    linger("ann", "c5");
    CHECK(end("ann", "c5", true) == RL_PRESENCE_LEAVE);
    CHECK_INT(count(), 0);
    rl_presence_free(p);
}

static void is_bounded(void)
{
    rl_presence_figures f;

    p = rl_presence_new();
    seq = 0;
    rl_presence_limit(p, 300);
    CHECK(track("ann", "c1", "x") == RL_PRESENCE_JOIN);
    CHECK(track("bob", "c2", "x") == RL_PRESENCE_JOIN);
    CHECK(track("eve", "c3", "x") == RL_PRESENCE_FULL);
    CHECK(track("ann", "c1", "y") == RL_PRESENCE_UPDATE);
    end("bob", "c2", false);
    CHECK(track("eve", "c3", "x") == RL_PRESENCE_JOIN);
    rl_presence_figures_of(p, &f);
    CHECK(f.refused == 1 && f.connections == 2 && f.bytes <= 300);
    rl_presence_free(p);
}

int main(void)
{
    follows_keys();
    knows_who_comes_back();
    is_bounded();
    rl_buf_fini(&metas);
    return unit_done();
}
