/* LISTEN on a real PostgreSQL: RILLE_TEST_POSTGRES is its URL, of a superuser. */
#include "db_unit.h"

#include "db/listen.h"

/* Who listens, and what it was told: "payload;" for what was said, "gap;" for a gap. */
struct listener {
    rl_listen *listen;
    unsigned notes, gaps, heard, lost;
    int pid;
    size_t longest;
    char said[200];
    bool once; /* closes itself at the first note */
};

static char url[400];

static void on_note(void *arg, const rl_note *note)
{
    struct listener *l = arg;
    size_t n = strlen(l->said);
    bool gap = note->kind == RL_NOTE_GAP;

    l->heard += note->kind == RL_NOTE_HEARD;
    l->lost += note->kind == RL_NOTE_LOST;
    if (note->kind == RL_NOTE_HEARD || note->kind == RL_NOTE_LOST)
        return;
    l->notes += !gap;
    l->gaps += gap;
    l->pid = note->pid;
    if (note->payload.n > l->longest)
        l->longest = note->payload.n;
    snprintf(l->said + n, sizeof(l->said) - n, "%.*s;", gap ? 3 : (int)note->payload.n,
             gap ? "gap" : note->payload.p);
    if (l->once) {
        rl_listen_close(l->listen);
        l->listen = NULL;
    }
}

static void hear(struct listener *l, rl_db *db, const char *channel)
{
    rl_err err = {0};

    *l = (struct listener){0};
    CHECK_INT(rl_listen_open(&l->listen, db, rl_str_of(channel), on_note, l, &err), 0);
}

#define EARS \
    " FROM pg_stat_activity WHERE application_name = 'test_db_listen' AND query ~ '^(UN)?LISTEN '"

static int64_t listeners(rl_db *other)
{
    return number(other, NULL, "SELECT count(*)" EARS);
}

/* Wait until so many listen, for at most five seconds. */
static bool becomes(rl_db *other, int64_t n)
{
    for (int i = 0; i < 250 && listeners(other) != n; i++)
        pass(20);
    return listeners(other) == n;
}

static void until(const unsigned *count, unsigned n)
{
    for (int i = 0; i < 250 && *count < n; i++)
        pass(20);
    CHECK_INT(*count, n);
}

static void say(rl_db *db, const char *channel, const char *payload)
{
    rl_value params[] = {text(channel), text(payload)};
    rl_err err;

    rl_result_free(get(db, NULL, "SELECT pg_notify($1, $2)", params, 2, &err));
    CHECK_INT(err.code, 0);
}

/* Say until it is heard: LISTEN takes effect in the background. */
static void say_until_heard(rl_db *db, const char *channel, struct listener *l)
{
    for (int i = 0; i < 250 && !l->notes; i++) {
        say(db, channel, "?");
        pass(20);
    }
    CHECK(l->notes > 0);
    pass(50);
    l->notes = 0;
    *l->said = '\0';
}

static void shares_one_connection_between_channels(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url, .max_connections = 1});
    rl_db *other = open_db((rl_db_opts){.url = url});
    struct listener a, b, again, late;

    hear(&a, db, "a");
    hear(&b, db, "b");
    hear(&again, db, "b");
    say_until_heard(other, "a", &a);
    say_until_heard(other, "b", &b);
    CHECK_INT(listeners(other), 1);
    CHECK_INT(stats_of(db).open, 0);
    again.notes = 0;
    say(other, "b", "one");
    say(other, "a", "two");
    say(db, "b", "three");
    until(&b.notes, 2);
    until(&a.notes, 1);
    CHECK(strcmp(a.said, "two;") == 0 && strcmp(b.said, "one;three;") == 0);
    CHECK_INT(again.notes, 2);
    CHECK_INT(a.pid, number(other, NULL, "SELECT pg_backend_pid()"));
    CHECK_INT(a.gaps + b.gaps, 0);
    CHECK_INT(a.heard + b.heard + again.heard, 3); /* each once, whenever it came */
    hear(&late, db, "b");
    until(&late.heard, 1);
    CHECK_INT(b.heard, 1);
    rl_listen_close(late.listen);

    rl_listen_close(b.listen);
    say(other, "b", "four");
    until(&again.notes, 3);
    CHECK_INT(b.notes, 2);
    rl_listen_close(a.listen);
    rl_listen_close(again.listen);
    CHECK(becomes(other, 0));
    hear(&a, db, "a");
    say_until_heard(other, "a", &a);
    rl_listen_close(a.listen);
    close_db(db);
    close_db(other);
}

static void quotes_names_and_refuses_what_would_be_cut(void)
{
    static const char *const odd[] = {"Upper", "two words",           "a\"b",
                                      "\"",    "'; DROP TABLE x; --", "\xc3\xa9t\xc3\xa9"};
    rl_db *db = open_db((rl_db_opts){.url = url});
    struct listener l;
    rl_err err = {0};
    char longest[65];

    for (size_t i = 0; i < RL_COUNT(odd); i++) {
        hear(&l, db, odd[i]);
        say_until_heard(db, odd[i], &l);
        rl_listen_close(l.listen);
    }
    memset(longest, '"', sizeof(longest));
    longest[63] = '\0';
    hear(&l, db, longest);
    say_until_heard(db, longest, &l);
    rl_listen_close(l.listen);
    longest[63] = 'x';
    CHECK(rl_listen_open(&l.listen, db, (rl_str){longest, 64}, on_note, &l, &err) < 0);
    CHECK(err.code == RL_EPROGRAMMING && strstr(err.msg, "63"));
    CHECK(rl_listen_open(&l.listen, db, (rl_str){"a\0b", 3}, on_note, &l, &err) < 0);
    CHECK(rl_listen_open(&l.listen, db, RL_STR(""), on_note, &l, &err) < 0);
    close_db(db);
}

static void tells_of_a_gap_and_goes_on(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url});
    rl_db *other = open_db((rl_db_opts){.url = url});
    struct listener a, b;

    hear(&a, db, "a");
    hear(&b, db, "b");
    say_until_heard(other, "a", &a);
    say_until_heard(other, "b", &b);
    CHECK_INT(number(other, NULL, "SELECT count(pg_terminate_backend(pid))" EARS), 1);
    until(&a.gaps, 1);
    until(&b.gaps, 1);
    say(other, "a", "on");
    until(&a.notes, 1);
    CHECK(strcmp(a.said, "gap;on;") == 0);
    CHECK(a.lost == 1 && a.heard == 1);
    CHECK_INT(listeners(other), 1);
    rl_listen_close(a.listen);
    rl_listen_close(b.listen);
    close_db(db);
    close_db(other);
}

static void may_be_left_from_inside(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url});
    struct listener a, b;

    hear(&a, db, "a");
    hear(&b, db, "a");
    say_until_heard(db, "a", &b);
    a.once = b.once = true;
    a.notes = b.notes = 0;
    say(db, "a", "x");
    say(db, "a", "y");
    until(&a.notes, 1);
    pass(50);
    CHECK(a.notes == 1 && b.notes == 1 && !a.listen && !b.listen);
    close_db(db);
}

static void waits_for_a_server_and_ends_with_its_db(void)
{
    rl_db *db = open_db((rl_db_opts){.url = "postgresql://bob@127.0.0.1:1/x"});
    struct listener a, b;
    rl_err err;

    hear(&a, db, "a"); /* closed before anything was dialled */
    rl_listen_close(a.listen);
    hear(&a, db, "a");
    hear(&b, db, "b");
    pass(300);
    CHECK_INT(a.notes + a.gaps + a.heard, 0);
    CHECK(a.lost > 0 && a.lost == b.lost);
    rl_listen_close(a.listen);
    close_db(db);
    rl_listen_close(b.listen);

    db = open_db((rl_db_opts){.url = url}); /* in the middle of everything */
    for (unsigned ms = 0; ms < 12; ms++) {
        hear(&a, db, "a");
        hear(&b, db, "b");
        pass(ms);
        rl_listen_close(a.listen);
        rl_listen_close(b.listen);
        if (ms % 3 == 0)
            pass(1);
    }
    hear(&a, db, "a");
    pass(4);
    close_db(db);
    rl_listen_close(a.listen);

    db = open_db((rl_db_opts){.url = "sqlite::memory:"});
    CHECK(rl_listen_open(&a.listen, db, RL_STR("a"), on_note, &a, &err) < 0);
    CHECK(err.code == RL_ENOTSUPPORTED && strstr(err.msg, "sqlite"));
    close_db(db);
}

static void hears_long_and_many(void)
{
    rl_db *db = open_db((rl_db_opts){.url = url});
    struct listener a;

    hear(&a, db, "a");
    say_until_heard(db, "a", &a);
    must(db, NULL, "SELECT pg_notify('a', repeat('x', 7999))");
    until(&a.notes, 1);
    CHECK_INT(a.longest, 7999);
    must(db, NULL, "SELECT pg_notify('a', i || repeat('x', 1000)) FROM generate_series(1, 5000) i");
    until(&a.notes, 5001);
    rl_listen_close(a.listen);
    close_db(db);
}

int main(void)
{
    const char *given = begin_with_postgres();
    if (!given)
        return SKIPPED;
    snprintf(url, sizeof(url), "%s%capplication_name=test_db_listen", given,
             strchr(given, '?') ? '&' : '?');
    shares_one_connection_between_channels();
    quotes_names_and_refuses_what_would_be_cut();
    tells_of_a_gap_and_goes_on();
    may_be_left_from_inside();
    waits_for_a_server_and_ends_with_its_db();
    hears_long_and_many();
    rl_loop_fini(&loop);
    return unit_done();
}
