#include "db/sql.h"

#include <ctype.h>
#include <strings.h>

static rl_str skip_blanks(rl_str s)
{
    for (;;) {
        if (s.n && (isspace((unsigned char)*s.p) || *s.p == ';' || *s.p == '(')) {
            s = (rl_str){s.p + 1, s.n - 1};
        } else if (s.n >= 2 && s.p[0] == '-' && s.p[1] == '-') {
            const char *end = memchr(s.p, '\n', s.n);
            s = end ? (rl_str){end, s.n - (size_t)(end - s.p)} : (rl_str){s.p + s.n, 0};
        } else if (s.n >= 2 && s.p[0] == '/' && s.p[1] == '*') {
            unsigned depth = 0; /* PostgreSQL's comments nest */
            do {
                size_t step = 1;
                if (s.n >= 2 && s.p[0] == '/' && s.p[1] == '*')
                    depth++, step = 2;
                else if (s.n >= 2 && s.p[0] == '*' && s.p[1] == '/')
                    depth--, step = 2;
                s = (rl_str){s.p + step, s.n - step};
            } while (depth && s.n);
        } else {
            return s;
        }
    }
}

static rl_str next_word(rl_str *rest)
{
    rl_str s = skip_blanks(*rest), word = {s.p, 0};

    while (word.n < s.n && (isalnum((unsigned char)s.p[word.n]) || s.p[word.n] == '_'))
        word.n++;
    *rest = (rl_str){s.p + word.n, s.n - word.n};
    return word;
}

static bool is(rl_str word, const char *want)
{
    return rl_str_eq_nocase(word, rl_str_of(want));
}

static bool is_any(rl_str word, const char *const *words)
{
    for (; *words; words++)
        if (is(word, *words))
            return true;
    return false;
}

bool rl_sql_begins(rl_str sql, const char *word)
{
    return is(next_word(&sql), word);
}

static bool is_of_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

static bool starts(rl_str s, size_t at, const char *with)
{
    size_t n = strlen(with);

    return at <= s.n && s.n - at >= n && strncasecmp(s.p + at, with, n) == 0;
}

/* The functions that change a session, by name: set_config(), pg_advisory_lock() and its kin, but
 * not those whose locks end with the transaction. They are all spelt with an underscore, which is
 * what makes looking cheap; and a column called site_config is none of them. */
static const char *called_for_session(rl_str s)
{
    const char *at = s.p, *end = s.p + s.n;

    while ((at = memchr(at, '_', (size_t)(end - at)))) {
        size_t i = (size_t)(at - s.p);
        bool alone = i < 4 || !is_of_word(s.p[i - 4]);
        if (i >= 3 && alone && starts(s, i - 3, "set_config"))
            return "set_config()";
        if (starts(s, i, "_advisory_lock") || starts(s, i, "_advisory_unlock"))
            return "an advisory lock";
        at++;
    }
    return NULL;
}

static const char *const temporary[] = {"TEMP", "TEMPORARY", "GLOBAL", "LOCAL", NULL};

/* Is there this four-letter word somewhere, and one of those behind it, if any are given? */
static bool mentions(rl_str s, const char *word, const char *const *behind)
{
    for (size_t i = 0; i + 4 <= s.n; i++) {
        if ((s.p[i] ^ word[0]) & ~32 || strncasecmp(s.p + i, word, 4) != 0)
            continue;
        rl_str rest = {s.p + i + 4, s.n - i - 4};
        if (!behind || is_any(next_word(&rest), behind))
            return true;
    }
    return false;
}

/* temp.name, pg_temp.name, "temp".name */
static bool names_temporary_schema(rl_str s)
{
    for (size_t i = 0; i + 5 <= s.n; i++)
        if (starts(s, i, "temp") &&
            (s.p[i + 4] == '.' || (s.p[i + 4] == '"' && i + 5 < s.n && s.p[i + 5] == '.')))
            return true;
    return false;
}

const char *rl_sql_session_change(rl_str sql)
{
    static const char *const always[] = {"RESET",  "LISTEN", "UNLISTEN",   "LOAD",
                                         "ATTACH", "DETACH", "DEALLOCATE", "DISCARD",
                                         "PRAGMA", "DO",     "CALL",       NULL};
    static const char *const until_commit[] = {"LOCAL", "TRANSACTION", "CONSTRAINTS", NULL};
    rl_str rest = sql, word = next_word(&rest);

    for (size_t i = 0; always[i]; i++)
        if (is(word, always[i]))
            return always[i];
    if (is(word, "PREPARE")) /* a TRANSACTION that was prepared is nobody's session's */
        return is(next_word(&rest), "TRANSACTION") ? NULL : "PREPARE";
    if (is(word, "SET") && !is_any(next_word(&rest), until_commit))
        return "SET";
    if (is(word, "CREATE")) {
        if (names_temporary_schema(rest))
            return "a temporary object";
        word = next_word(&rest);
        if (is(word, "OR")) /* OR REPLACE TEMPORARY VIEW */
            next_word(&rest), word = next_word(&rest);
        if (is_any(word, temporary))
            return "a temporary object";
    }
    if (is(word, "DECLARE")) /* a cursor ends with its transaction, unless WITH HOLD */
        return mentions(rest, "HOLD", NULL) ? "a cursor WITH HOLD" : NULL;
    if ((is(word, "SELECT") || is(word, "WITH")) && mentions(rest, "INTO", NULL) &&
        (mentions(rest, "INTO", temporary) || names_temporary_schema(rest)))
        return "a temporary table";
    return called_for_session(sql);
}

bool rl_sql_is_commit(rl_str sql)
{
    static const char *const words[] = {"COMMIT", "END", NULL};
    rl_str rest = sql, word = next_word(&rest);

    return is_any(word, words) || (is(word, "PREPARE") && is(next_word(&rest), "TRANSACTION"));
}

bool rl_sql_is_rollback(rl_str sql)
{
    static const char *const words[] = {"ROLLBACK", "ABORT", NULL};
    static const char *const fillers[] = {"WORK", "TRANSACTION", NULL};
    rl_str rest = sql;

    if (!is_any(next_word(&rest), words))
        return false;
    rl_str word = next_word(&rest);
    if (is_any(word, fillers))
        word = next_word(&rest);
    return !is(word, "TO") && !is(word, "PREPARED");
}

bool rl_sql_writes(rl_str sql)
{
    static const char *const words[] = {"INSERT", "UPDATE",  "DELETE", "REPLACE", "CREATE", "DROP",
                                        "ALTER",  "REINDEX", "VACUUM", "ANALYZE", NULL};
    rl_str rest = sql, word = next_word(&rest);

    if (!is(word, "WITH"))
        return is_any(word, words);
    for (size_t i = 0; i < rest.n; i++)
        for (size_t k = 0; k < 4; k++)
            if (starts(rest, i, words[k]))
                return true;
    return false;
}

bool rl_sql_is_plain(rl_str sql)
{
    static const char *const words[] = {"SELECT", "INSERT", "UPDATE", "DELETE",
                                        "WITH",   "VALUES", "MERGE",  NULL};

    return is_any(next_word(&sql), words);
}
