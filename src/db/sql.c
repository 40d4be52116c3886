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

/* set_config(), pg_advisory_lock() and its kin. They are all spelt with an underscore,
 * which is what makes looking cheap. */
static bool calls_for_session(rl_str s)
{
    const char *at;

    while ((at = memchr(s.p, '_', s.n))) {
        s = (rl_str){at + 1, s.n - (size_t)(at + 1 - s.p)};
        if ((s.n >= 8 && strncasecmp(s.p, "advisory", 8) == 0) ||
            (s.n >= 6 && strncasecmp(s.p, "config", 6) == 0))
            return true;
    }
    return false;
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

bool rl_sql_is_dirty(rl_str sql)
{
    static const char *const always[] = {"RESET",   "LISTEN",     "UNLISTEN", "LOAD",
                                         "PREPARE", "DEALLOCATE", "DISCARD",  "PRAGMA",
                                         "ATTACH",  "DETACH",     "DO",       NULL};
    static const char *const until_commit[] = {"LOCAL", "TRANSACTION", "CONSTRAINTS", NULL};
    rl_str rest = sql, word = next_word(&rest);

    if (is_any(word, always))
        return true;
    if (is(word, "SET"))
        return !is_any(next_word(&rest), until_commit);
    if (is(word, "CREATE")) {
        word = next_word(&rest);
        if (is(word, "OR")) /* OR REPLACE TEMPORARY VIEW */
            next_word(&rest), word = next_word(&rest);
        return is_any(word, temporary);
    }
    if (is(word, "DECLARE")) /* a cursor ends with its transaction, unless WITH HOLD */
        return mentions(rest, "HOLD", NULL);
    if (is(word, "SELECT") && mentions(rest, "INTO", temporary))
        return true;
    return calls_for_session(sql);
}

bool rl_sql_is_commit(rl_str sql)
{
    static const char *const words[] = {"COMMIT", "END", NULL};
    rl_str rest = sql, word = next_word(&rest);

    return is_any(word, words) || (is(word, "PREPARE") && is(next_word(&rest), "TRANSACTION"));
}

bool rl_sql_is_plain(rl_str sql)
{
    static const char *const words[] = {"SELECT", "INSERT", "UPDATE", "DELETE",
                                        "WITH",   "VALUES", "MERGE",  NULL};

    return is_any(next_word(&sql), words);
}
