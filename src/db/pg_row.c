/* Values travel as text, which every type of the server has; only bytes go out in binary.
 * Types of parameters are left for the server to infer, with the same exception. */
#include "db/pg.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

/* From the server's pg_type.dat; they never change. */
enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_OID = 26,
    OID_JSON = 114,
    OID_FLOAT4 = 700,
    OID_FLOAT8 = 701,
    OID_NUMERIC = 1700,
    OID_JSONB = 3802,
};

/* Parameters */

enum { NUMBER_SIZE = 32 };

/* One block: the arrays, then room for a number per parameter. */
rl_pg_params rl_pg_params_of(const rl_statement *st)
{
    size_t n = st->nparams;
    rl_pg_params p = {.n = (int)n};

    if (n == 0)
        return p;
    p.values = rl_calloc(n, sizeof(char *) + 2 * sizeof(int) + sizeof(Oid) + NUMBER_SIZE);
    p.lengths = (int *)(p.values + n);
    p.formats = p.lengths + n;
    p.types = (Oid *)(p.formats + n);
    char *number = (char *)(p.types + n);
    for (size_t i = 0; i < n; i++, number += NUMBER_SIZE) {
        const rl_value *v = &st->params[i];
        switch (v->kind) {
        case RL_NULL:
            break;
        case RL_BOOL:
            p.values[i] = v->i ? "t" : "f";
            break;
        case RL_INT:
            snprintf(number, NUMBER_SIZE, "%lld", (long long)v->i);
            p.values[i] = number;
            break;
        case RL_FLOAT:
            snprintf(number, NUMBER_SIZE, "%.17g",
                     v->f); /* also inf and nan, as the server reads */
            p.values[i] = number;
            break;
        case RL_BYTES:
            p.types[i] = OID_BYTEA;
            p.formats[i] = 1;
            p.values[i] = v->s.p;
            p.lengths[i] = (int)v->s.n;
            break;
        case RL_TEXT:
        case RL_NUMERIC:
        case RL_JSON:
            p.values[i] = v->s.p;
            break;
        }
    }
    return p;
}

void rl_pg_params_free(rl_pg_params *p)
{
    rl_free(p->values);
}

/* Results */

/* Text cells are borrowed from libpq's result; bytes had to be decoded. */
struct pg_result {
    rl_result base;
    PGresult *res;
    rl_kind *kinds;  /* by column */
    rl_value *bytes; /* rows * cols, or NULL when no column is of bytes */
    char *decoded;
};

static rl_kind kind_of(Oid type)
{
    switch (type) {
    case OID_BOOL:
        return RL_BOOL;
    case OID_INT2:
    case OID_INT4:
    case OID_INT8:
    case OID_OID:
        return RL_INT;
    case OID_FLOAT4:
    case OID_FLOAT8:
        return RL_FLOAT;
    case OID_NUMERIC:
        return RL_NUMERIC;
    case OID_JSON:
    case OID_JSONB:
        return RL_JSON;
    case OID_BYTEA:
        return RL_BYTES;
    default:
        return RL_TEXT;
    }
}

static int hex_digit(char c)
{
    return c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
}

static void decode_bytes(struct pg_result *r)
{
    unsigned rows = r->base.rows, cols = r->base.cols;
    size_t total = 0, at = 0;

    for (unsigned row = 0; row < rows; row++)
        for (unsigned col = 0; col < cols; col++)
            if (r->kinds[col] == RL_BYTES)
                total += (size_t)PQgetlength(r->res, (int)row, (int)col) / 2;
    r->bytes = rl_calloc((size_t)rows * cols + 1, sizeof(rl_value));
    r->decoded = rl_malloc(total + 1);
    for (unsigned row = 0; row < rows; row++)
        for (unsigned col = 0; col < cols; col++) {
            const char *hex = PQgetvalue(r->res, (int)row, (int)col);
            int n = PQgetlength(r->res, (int)row, (int)col);
            if (r->kinds[col] != RL_BYTES || n < 2)
                continue;
            rl_value v = {.kind = RL_BYTES, .s = {r->decoded + at, (size_t)(n - 2) / 2}};
            for (int i = 2; i + 1 < n; i += 2) /* behind "\x" */
                r->decoded[at++] = (char)(hex_digit(hex[i]) << 4 | hex_digit(hex[i + 1]));
            r->bytes[(size_t)row * cols + col] = v;
        }
}

static const char *result_name(const rl_result *base, unsigned col)
{
    return PQfname(((const struct pg_result *)base)->res, (int)col);
}

static int64_t to_int(const char *s)
{
    bool negative = *s == '-';
    uint64_t n = 0;

    for (s += negative; *s; s++)
        n = n * 10 + (uint64_t)(*s - '0');
    return (int64_t)(negative ? 0 - n : n);
}

static rl_value result_cell(const rl_result *base, unsigned row, unsigned col)
{
    const struct pg_result *r = (const struct pg_result *)base;
    rl_value v = {.kind = RL_NULL};

    if (PQgetisnull(r->res, (int)row, (int)col))
        return v;
    const char *text = PQgetvalue(r->res, (int)row, (int)col);
    v.kind = r->kinds[col];
    switch (v.kind) {
    case RL_BOOL:
        v.i = *text == 't';
        break;
    case RL_INT:
        v.i = to_int(text);
        break;
    case RL_FLOAT:
        v.f = strtod(text, NULL);
        break;
    case RL_BYTES:
        return r->bytes[(size_t)row * base->cols + col];
    case RL_NULL:
    case RL_TEXT:
    case RL_NUMERIC:
    case RL_JSON:
        v.s = (rl_str){text, (size_t)PQgetlength(r->res, (int)row, (int)col)};
        break;
    }
    return v;
}

static void result_free(rl_result *base)
{
    struct pg_result *r = (struct pg_result *)base;

    PQclear(r->res);
    rl_free(r->bytes);
    rl_free(r->decoded);
    rl_free(r);
}

/* "INSERT 0 5" and "UPDATE 5" count changes; "SELECT 5" counts what the rows say anyway. */
static uint64_t affected_by(PGresult *res)
{
    const char *tag = PQcmdStatus(res), *last = strrchr(tag, ' ');
    uint64_t n = 0;

    if (last && strchr("IUDM", *tag) && strncmp(tag, "MOVE", 4) != 0)
        rl_str_to_u64(rl_str_of(last + 1), UINT64_MAX, &n);
    return n;
}

rl_result *rl_pg_result_new(PGresult *res)
{
    static const rl_result_ops ops = {result_name, result_cell, result_free};
    unsigned cols = (unsigned)PQnfields(res);
    struct pg_result *r = rl_calloc(1, sizeof(*r) + cols * sizeof(rl_kind));
    bool bytes = false;

    r->base = (rl_result){&ops, (unsigned)PQntuples(res), cols, affected_by(res)};
    r->res = res;
    r->kinds = (rl_kind *)(r + 1);
    for (unsigned i = 0; i < cols; i++) {
        r->kinds[i] = kind_of(PQftype(res, (int)i));
        bytes |= r->kinds[i] == RL_BYTES;
    }
    if (bytes)
        decode_bytes(r);
    return &r->base;
}

/* Errors */

static int code_of(const char *sqlstate)
{
    static const struct {
        const char *prefix;
        int code;
    } known[] = {
        {"08P01", RL_EPROGRAMMING}, /* above all a wrong number of parameters */
        {"22", RL_EDATA},           {"23", RL_EINTEGRITY},   {"42", RL_EPROGRAMMING},
        {"0A", RL_ENOTSUPPORTED},   {"25", RL_ETRANSACTION}, {"2D", RL_ETRANSACTION},
        {"3B", RL_ETRANSACTION},    {"0B", RL_ETRANSACTION}, {"21", RL_EPROGRAMMING},
        {"26", RL_EPROGRAMMING},    {"34", RL_EPROGRAMMING}, {"3D", RL_EPROGRAMMING},
        {"3F", RL_EPROGRAMMING},    {"P0", RL_EPROGRAMMING},
    };

    for (size_t i = 0; i < RL_COUNT(known); i++)
        if (strncmp(sqlstate, known[i].prefix, strlen(known[i].prefix)) == 0)
            return known[i].code;
    return RL_EOPERATIONAL;
}

/* Lines and runs of blanks become single blanks. */
static void squeeze(char *out, size_t size, const char *s)
{
    size_t n = 0;

    for (; *s && n + 1 < size; s++) {
        if (!isspace((unsigned char)*s))
            out[n++] = *s;
        else if (n && out[n - 1] != ' ')
            out[n++] = ' ';
    }
    while (n && out[n - 1] == ' ')
        n--;
    out[n] = '\0';
}

void rl_pg_error(rl_err *err, const PGresult *res)
{
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *msg = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
    const char *constraint = PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME);
    char line[sizeof(err->msg)];

    squeeze(line, sizeof(line), msg ? msg : PQresultErrorMessage(res));
    rl_err_set(err, state ? code_of(state) : RL_EOPERATIONAL, "%s", line);
    if (state)
        snprintf(err->sqlstate, sizeof(err->sqlstate), "%s", state);
    if (constraint)
        snprintf(err->constraint, sizeof(err->constraint), "%s", constraint);
    if (detail)
        squeeze(err->detail, sizeof(err->detail), detail);
}

void rl_pg_conn_error(rl_err *err, const PGconn *pg)
{
    char line[sizeof(err->msg)];

    squeeze(line, sizeof(line), PQerrorMessage(pg));
    rl_err_set(err, RL_EOPERATIONAL, "%s", *line ? line : "the server closed the connection");
}

bool rl_pg_is_fatal(const PGresult *res)
{
    const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);

    return severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}
