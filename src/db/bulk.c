/* Reads of one row by its key, of many coroutines, as one statement: a bulk.
 *
 * Most of what a server does for such a read it does for the statement, not for the row: its
 * message, its portal, its snapshot, the start and the end of a plan. So those of a batch (share.c)
 * that differ in their key alone go as the text that they name for this, with an array of their
 * keys. Each row that comes goes to whoever asked for its key, and who gets none has a result
 * without rows, as from his own statement.
 *
 * Nobody sees a difference. A bulk that fails, for whatever reason (a key that the column cannot
 * hold, a lock, a cancel), and one whose rows are not plainly those that were asked for, is
 * forgotten: its reads go again, each as the statement it is, and have their own results and errors
 * then. That costs a read, which leaves nothing behind.
 *
 * The array is never shorter than LEAST. The server plans anew for each array until it has seen
 * that a plan for any, for which it assumes ten keys, costs no more; with fewer it would plan for
 * ever, which takes longer than to look up the rows. A key that stands there twice is looked up
 * once. On an index two reads cost as much together as apart, four clearly less; a table of some
 * hundred rows is read from end to end for them, which pays from a dozen on and costs little
 * before.
 */
#include "db/pool.h"

enum {
    FEWEST = 4,  /* reads that are worth it */
    LEAST = 16,  /* keys in an array */
    UUID = 36,   /* bytes of one as text */
    HEADS = 256, /* lists of keys that hash alike */
    NOBODY = 255,
    UNFIT = 5000, /* ms that a text which did not do is left alone; then four times as long, … */
    STRIKES = 4,  /* … up to three times more */
    MOST_UNFIT = 1024,
};

/* What an array holds as it stands: an integer, or a uuid as the server writes it. */
static bool is_key(const rl_value *v)
{
    if (v->kind != RL_TEXT || v->s.n != UUID)
        return v->kind == RL_INT;
    for (size_t i = 0; i < UUID; i++) {
        char c = v->s.p[i];
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? c != '-' : (c < '0' || c > '9') && (c < 'a' || c > 'f'))
            return false;
    }
    return true;
}

/* What did not do may be tried again, but the longer after the more often that failed. In place of
 * a pointer: when, in ms, and how often. */
static bool is_unfit(const rl_db *db, rl_str text)
{
    uintptr_t word = db->unfit.len ? (uintptr_t)rl_map_get(&db->unfit, text) : 0;

    return word / STRIKES > rl_pool_now();
}

static void mark_unfit(rl_db *db, rl_str text)
{
    uintptr_t strikes = (uintptr_t)rl_map_get(&db->unfit, text) % STRIKES;

    if (strikes == 0 && db->unfit.len >= MOST_UNFIT) {
        rl_map_fini(&db->unfit);
        db->unfit = (rl_map){0};
    }
    uintptr_t until = rl_pool_now() + ((uintptr_t)UNFIT << 2 * strikes);
    strikes += strikes < STRIKES - 1;
    rl_map_put(&db->unfit, text, (void *)(until * STRIKES + strikes));
}

static void mark_fit(rl_db *db, rl_str text)
{
    if (db->unfit.len)
        rl_map_remove(&db->unfit, text);
}

/* Sending */

bool rl_bulk_can(const rl_query *q)
{
    rl_db *db = q->req.db;

    return q->st->many.n && db->set.coalesce && !q->single && is_key(&q->st->params[0]) &&
           !is_unfit(db, q->st->many);
}

bool rl_bulk_join(rl_query *q, rl_query *const *firsts, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (firsts[i]->text == q->text || rl_str_eq(firsts[i]->st->many, q->st->many)) {
            rl_list_push(&firsts[i]->bulk, &q->req.link);
            return true;
        }
    return false;
}

static rl_query *query_at(rl_list *link)
{
    return RL_CONTAINER_OF(RL_LIST_ENTRY(link, request, link), rl_query, req);
}

bool rl_bulk_pays(const rl_query *first)
{
    unsigned n = 1;

    RL_LIST_EACH (it, &first->bulk)
        if (++n == FEWEST)
            return true;
    return false;
}

static void add_key(rl_buf *out, const rl_value *key)
{
    char text[24], *at = text + sizeof(text);
    uint64_t n = key->i < 0 ? 0 - (uint64_t)key->i : (uint64_t)key->i;

    if (key->kind == RL_TEXT) {
        rl_buf_add_str(out, key->s);
        return;
    }
    do
        *--at = (char)('0' + n % 10);
    while (n /= 10);
    if (key->i < 0)
        *--at = '-';
    rl_buf_add(out, at, (size_t)(text + sizeof(text) - at));
}

void rl_bulk_write(const rl_query *first, rl_buf *out)
{
    unsigned n = 1;

    rl_buf_add_c(out, '{');
    add_key(out, &first->st->params[0]);
    RL_LIST_EACH (it, &first->bulk) {
        rl_buf_add_c(out, ',');
        add_key(out, &query_at(it)->st->params[0]);
        n++;
    }
    for (; n < LEAST; n++) {
        rl_buf_add_c(out, ',');
        add_key(out, &first->st->params[0]);
    }
    rl_buf_add(out, "}", 2); /* with its NUL */
}

/* Rows */

/* One row of a bulk's, or none, as a result of its own. */
struct view {
    rl_result base;
    struct rows *of;
    unsigned row;
};

struct rows {
    rl_result *all;
    unsigned left; /* views */
    struct view views[];
};

static const char *view_name(const rl_result *r, unsigned col)
{
    return rl_result_col_name(((const struct view *)r)->of->all, col);
}

static rl_value view_cell(const rl_result *r, unsigned row, unsigned col)
{
    const struct view *v = (const struct view *)r;

    return rl_result_cell(v->of->all, v->row + row, col);
}

static void view_free(rl_result *r)
{
    struct rows *of = ((struct view *)r)->of;

    if (--of->left)
        return;
    rl_result_free(of->all);
    rl_free(of);
}

static const rl_result_ops view_ops = {view_name, view_cell, view_free};

static uint8_t hash_of(const rl_value *key)
{
    uint64_t n = (uint64_t)key->i;

    if (key->kind == RL_TEXT)
        memcpy(&n, key->s.p + UUID - sizeof(n), sizeof(n));
    return (uint8_t)((n * 0x9e3779b97f4a7c15u) >> 56);
}

static bool same_key(const rl_value *a, const rl_value *b)
{
    return a->kind == b->kind && (a->kind == RL_INT ? a->i == b->i : rl_str_eq(a->s, b->s));
}

enum { NO_ROW = -1 };

/* Which row is whose. False: one is nobody's, or a key has two; the rows are not to be trusted. */
static bool match(const rl_result *r, rl_query *const *all, unsigned n, int *row_of)
{
    uint8_t heads[HEADS], next[RL_BULK_MOST];
    unsigned key = all[0]->st->key;

    if (key >= rl_result_cols(r))
        return false;
    memset(heads, NOBODY, sizeof(heads));
    for (unsigned i = 0; i < n; i++) {
        uint8_t hash = hash_of(&all[i]->st->params[0]);
        next[i] = heads[hash];
        heads[hash] = (uint8_t)i;
        row_of[i] = NO_ROW;
    }
    for (unsigned row = 0; row < rl_result_rows(r); row++) {
        rl_value cell = rl_result_cell(r, row, key);
        bool found = false;
        if (!is_key(&cell))
            return false;
        for (uint8_t i = heads[hash_of(&cell)]; i != NOBODY; i = next[i]) {
            if (!same_key(&cell, &all[i]->st->params[0]))
                continue;
            if (row_of[i] != NO_ROW)
                return false;
            row_of[i] = (int)row;
            found = true;
        }
        if (!found)
            return false;
    }
    return true;
}

/* Answers */

unsigned rl_bulk_take(rl_query *first, rl_query **all)
{
    unsigned n = 0;
    rl_list *it;

    all[n++] = first;
    while ((it = rl_list_pop(&first->bulk)))
        all[n++] = query_at(it);
    return n;
}

static void answer(rl_query **all, unsigned n, const int *row_of, rl_result *result)
{
    struct rows *rows = rl_malloc(sizeof(*rows) + n * sizeof(rows->views[0]));
    unsigned told = n; /* the first who is still there tells of them all */

    rows->all = result;
    rows->left = n;
    for (unsigned i = 0; i < n; i++) {
        unsigned found = row_of[i] != NO_ROW;
        rows->views[i] = (struct view){
            .base = {&view_ops, found, rl_result_cols(result), found},
            .of = rows,
            .row = found ? (unsigned)row_of[i] : 0,
        };
        all[i]->answered = all[i]->fn ? told : 0;
        told = all[i]->fn ? 0 : told;
        rl_query_answer(all[i], &rows->views[i].base);
    }
}

/* Each is on its own now; `failed`: for good. */
static void ask_again(rl_query **all, unsigned n, bool failed)
{
    for (unsigned i = 0; i < n; i++) {
        rl_query *q = all[i];
        q->single |= failed;
        q->slot = NULL;
        if (q->fn)
            rl_share_wait(q);
        else
            rl_query_finish(q, NULL, NULL);
    }
}

/* Is it the statement that does not do, whatever the keys? */
static bool is_fault(const rl_err *err)
{
    static const char *const others[] = {
        "22",    /* a key that the column cannot hold */
        "0A000", /* the plan was made for another table: the next one is not */
        "26000",
    };

    for (size_t i = 0; i < RL_COUNT(others); i++)
        if (strncmp(err->sqlstate, others[i], strlen(others[i])) == 0)
            return false;
    return true;
}

void rl_bulk_part(rl_db *db, rl_query *first, rl_result *result, const rl_err *err)
{
    rl_query *all[RL_BULK_MOST];
    unsigned n = rl_bulk_take(first, all);
    int row_of[RL_BULK_MOST];

    if (result && match(result, all, n, row_of)) {
        mark_fit(db, first->st->many);
        answer(all, n, row_of, result);
        return;
    }
    if (result || (err && is_fault(err)))
        mark_unfit(db, first->st->many);
    rl_result_free(result);
    ask_again(all, n, result || err);
}
