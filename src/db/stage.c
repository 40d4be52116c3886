/* Test mode: one connection, in one transaction, for everybody.
 *
 * Between rl_db_stage() and rl_db_unstage() there is one connection, the stage. It begins a
 * transaction before it is first used, and ends it, rolled back, when the stage is taken down.
 * Those who ask for a connection get this one, one after the other; nothing closes it. What they
 * see is what they would see of a pool with a single connection:
 *
 *   BEGIN, COMMIT, ROLLBACK   of a borrower become SAVEPOINT, RELEASE and ROLLBACK TO
 *   a statement that fails    outside of a borrower's transaction leaves that of the test whole: on
 *                             PostgreSQL, where it would not, each has a savepoint of its own
 *   a borrower who goes       with a transaction open is rolled back to where it began
 *
 * so what one borrower does is never part of another's transaction. A statement may thus be several
 * of the connection's; each step is entered when the one before has been answered. */
#include "db/pool.h"

#include "db/sql.h"

typedef enum step {
    PLAIN,   /* the statement, with nothing around it */
    BEGIN,   /* SAVEPOINT in its place */
    COMMIT,  /* RELEASE in its place */
    UNDO,    /* in ROLLBACK's place: ROLLBACK TO, */
    END,     /* and RELEASE */
    GUARD,   /* SAVEPOINT, */
    GUARDED, /* the statement, */
    RECOVER, /* if it failed ROLLBACK TO, */
    LEAVE,   /* and RELEASE: what it gave is told now */
} step;

struct rl_stage {
    step step;
    bool block;      /* a borrower's transaction is open */
    rl_result *kept; /* what the statement gave, until it is told: this, */
    rl_err err;      /* or an error, if there is a code */
};

#define BLOCK "rille_test"
#define OWN   "rille_statement"

static bool enter(slot *s, step what)
{
    static const rl_statement texts[] = {
        [BEGIN] = {.sql = {"SAVEPOINT " BLOCK, sizeof("SAVEPOINT " BLOCK) - 1}},
        [COMMIT] = {.sql = {"RELEASE SAVEPOINT " BLOCK, sizeof("RELEASE SAVEPOINT " BLOCK) - 1}},
        [UNDO] = {.sql = {"ROLLBACK TO SAVEPOINT " BLOCK,
                          sizeof("ROLLBACK TO SAVEPOINT " BLOCK) - 1}},
        [END] = {.sql = {"RELEASE SAVEPOINT " BLOCK, sizeof("RELEASE SAVEPOINT " BLOCK) - 1}},
        [GUARD] = {.sql = {"SAVEPOINT " OWN, sizeof("SAVEPOINT " OWN) - 1}},
        [RECOVER] = {.sql = {"ROLLBACK TO SAVEPOINT " OWN,
                             sizeof("ROLLBACK TO SAVEPOINT " OWN) - 1}},
        [LEAVE] = {.sql = {"RELEASE SAVEPOINT " OWN, sizeof("RELEASE SAVEPOINT " OWN) - 1}},
    };
    bool own = what == PLAIN || what == GUARDED;

    s->stage->step = what;
    return s->db->driver->run(s->conn, own ? s->query->st : &texts[what]);
}

/* How to say it on the stage. */
static step first_step(const slot *s)
{
    rl_str sql = s->query->st->sql;

    if (s->stage->block && rl_sql_is_commit(sql))
        return COMMIT;
    if (s->stage->block && rl_sql_is_rollback(sql))
        return UNDO;
    if (s->stage->block)
        return PLAIN;
    if (s->lease && (rl_sql_begins(sql, "BEGIN") || rl_sql_begins(sql, "START")))
        return BEGIN;
    return s->db->driver->one_writer ? PLAIN : GUARD;
}

bool rl_stage_run(slot *s)
{
    return enter(s, first_step(s));
}

static void keep(struct rl_stage *st, rl_result *result, const rl_err *err)
{
    st->kept = result;
    st->err = err ? *err : (rl_err){0};
}

/* What the last step gave is of interest only if it failed. */
static void tell(struct rl_stage *st, rl_result **result, const rl_err **err)
{
    if (*err) {
        rl_result_free(st->kept);
    } else {
        rl_result_free(*result);
        *result = st->kept;
        *err = st->err.code ? &st->err : NULL;
    }
    st->kept = NULL;
}

bool rl_stage_done(slot *s, rl_result **result, const rl_err **err)
{
    struct rl_stage *st = s->stage;
    step next;

    switch (st->step) {
    case PLAIN:
        return false;
    case BEGIN:
        st->block = !*err;
        return false;
    case COMMIT:
        st->block = *err != NULL;
        return false;
    case END:
        st->block = false;
        return false;
    case LEAVE:
        tell(st, result, err);
        return false;
    case UNDO:
        if (*err)
            return false;
        rl_result_free(*result);
        next = END;
        break;
    case GUARD:
        if (*err)
            return false;
        rl_result_free(*result);
        next = GUARDED;
        break;
    case GUARDED:
        keep(st, *result, *err);
        next = *err ? RECOVER : LEAVE;
        break;
    case RECOVER:
        if (*err) {
            tell(st, result, err);
            return false;
        }
        rl_result_free(*result);
        next = LEAVE;
        break;
    default:
        RL_CHECK(!"no such step");
    }
    if (!enter(s, next))
        rl_slot_lost(s, &rl_slot_broken, false);
    return true;
}

slot *rl_stage_take(rl_db *db, slot *idle)
{
    if (db->stage)
        return db->stage->state == IDLE ? db->stage : NULL;
    if (!idle)
        return NULL;
    idle->stage = rl_calloc(1, sizeof(*idle->stage));
    db->stage = idle;
    rl_slot_chore(idle, STAGE);
    return NULL;
}

bool rl_stage_settle(slot *s)
{
    rl_db *db = s->db;

    if (s != db->stage) { /* it was taken down meanwhile */
        rl_stage_drop(s);
        return false;
    }
    if (s->conn->txn == RL_TXN_NONE) {
        static const rl_err ended = {RL_EOPERATIONAL, "", "", "",
                                     "the transaction of the test has ended by itself"};
        rl_slot_lost(s, &ended, false);
    } else if (s->stage->block) {
        s->stage->block = false;
        rl_slot_chore(s, UNSTAGE);
    } else {
        s->chore = NO_CHORE;
        s->deadline = RL_DB_NEVER;
        rl_slot_move(s, IDLE);
        rl_pool_pump(db);
    }
    return true;
}

const rl_statement *rl_stage_chore(const slot *s)
{
    static const rl_statement begin = {.sql = {"BEGIN", 5}},
                              immediate = {.sql = {"BEGIN IMMEDIATE", 15}},
                              undo = {.sql = {"ROLLBACK TO SAVEPOINT " BLOCK,
                                              sizeof("ROLLBACK TO SAVEPOINT " BLOCK) - 1}};

    if (s->chore == UNSTAGE)
        return &undo;
    return s->db->driver->one_writer ? &immediate : &begin;
}

bool rl_stage_has_block(const slot *s)
{
    return s->stage->block;
}

void rl_stage_drop(slot *s)
{
    if (!s->stage)
        return;
    rl_result_free(s->stage->kept);
    rl_free(s->stage);
    s->stage = NULL;
}

void rl_stage_lost(slot *s, const rl_err *why)
{
    rl_db *db = s->db;
    rl_list *it;

    rl_stage_drop(s);
    if (db->stage != s)
        return;
    db->stage = NULL;
    db->stage_gone = rl_pool_err(
        RL_EOPERATIONAL, "the test's transaction on database %s is gone: %s", db->name, why->msg);
    while ((it = rl_list_first(&db->waiting))) {
        request *r = RL_LIST_ENTRY(it, request, link);
        rl_request_leave(r);
        rl_request_answer(r, rl_pool_err_copy(db->stage_gone));
    }
}

void rl_db_stage(rl_db *db)
{
    db->staging = true;
    rl_pool_pump(db);
}

int rl_db_unstage(rl_db *db, rl_err *err)
{
    slot *s = db->stage;
    int rc = 0;

    db->staging = false;
    db->stage = NULL;
    if (db->stage_gone) {
        rc = db->stage_gone->code;
        *err = *db->stage_gone;
        rl_free(db->stage_gone);
        db->stage_gone = NULL;
    }
    if (s && s->state == IDLE) {
        rl_stage_drop(s);
        rl_slot_chore(s, ROLLBACK);
    }
    return rc;
}
