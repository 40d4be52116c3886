/* Values travel as text, which every type of the server has; only bytes go out in binary.
 * Types of parameters are left for the server to infer, with the same exception. */
#include "db/pg.h"
#include "db/pg_array.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>

/* From the server's pg_type.dat; they never change. */
enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_OID = 26,
    OID_JSON = 114,
    OID_JSON_ARRAY = 199,
    OID_FLOAT4 = 700,
    OID_FLOAT8 = 701,
    OID_BOOL_ARRAY = 1000,
    OID_BYTEA_ARRAY = 1001,
    OID_INT2_ARRAY = 1005,
    OID_INT4_ARRAY = 1007,
    OID_INT8_ARRAY = 1016,
    OID_BOX_ARRAY = 1020,
    OID_FLOAT4_ARRAY = 1021,
    OID_FLOAT8_ARRAY = 1022,
    OID_OID_ARRAY = 1028,
    OID_NUMERIC_ARRAY = 1231,
    OID_NUMERIC = 1700,
    OID_JSONB = 3802,
    OID_JSONB_ARRAY = 3807,
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
            if (isnan(v->f)) /* printf may sign it, which the server does not read */
                snprintf(number, NUMBER_SIZE, "NaN");
            else
                snprintf(number, NUMBER_SIZE, "%.17g", v->f);
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
        case RL_ARRAY:
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
    rl_value *columns; /* what their cells are like */
    rl_value *bytes;   /* rows * cols, or NULL when no column is of bytes */
    char *decoded;
};

/* Every array type that comes with the server and whose elements are text to us. */
static bool is_text_array(Oid type)
{
    static const uint16_t known[] = {
        143,  210,  270,  271,  272,  273,  629,  651,  719,  775,  791,  1002, 1003, 1006,
        1008, 1009, 1010, 1011, 1012, 1013, 1014, 1015, 1017, 1018, 1019, 1027, 1034, 1040,
        1041, 1115, 1182, 1183, 1185, 1187, 1263, 1270, 1561, 1563, 2201, 2207, 2208, 2209,
        2210, 2211, 2287, 2949, 2951, 3221, 3643, 3644, 3645, 3735, 3770, 3905, 3907, 3909,
        3911, 3913, 3927, 4073, 4090, 4097, 4192, 5039, 6150, 6151, 6152, 6153, 6155, 6157,
    };
    size_t low = 0, high = RL_COUNT(known);

    while (low < high) {
        size_t mid = (low + high) / 2;
        if (known[mid] == type)
            return true;
        if (known[mid] < type)
            low = mid + 1;
        else
            high = mid;
    }
    return false;
}

static rl_value array_of(rl_kind element, char delimiter)
{
    return (rl_value){.kind = RL_ARRAY, .element = (uint8_t)element, .delimiter = delimiter};
}

/* What the cells of such a column are like. */
static rl_value column_of(Oid type)
{
    switch (type) {
    case OID_BOOL:
        return (rl_value){.kind = RL_BOOL};
    case OID_INT2:
    case OID_INT4:
    case OID_INT8:
    case OID_OID:
        return (rl_value){.kind = RL_INT};
    case OID_FLOAT4:
    case OID_FLOAT8:
        return (rl_value){.kind = RL_FLOAT};
    case OID_NUMERIC:
        return (rl_value){.kind = RL_NUMERIC};
    case OID_JSON:
    case OID_JSONB:
        return (rl_value){.kind = RL_JSON};
    case OID_BYTEA:
        return (rl_value){.kind = RL_BYTES};
    case OID_BOOL_ARRAY:
        return array_of(RL_BOOL, ',');
    case OID_INT2_ARRAY:
    case OID_INT4_ARRAY:
    case OID_INT8_ARRAY:
    case OID_OID_ARRAY:
        return array_of(RL_INT, ',');
    case OID_FLOAT4_ARRAY:
    case OID_FLOAT8_ARRAY:
        return array_of(RL_FLOAT, ',');
    case OID_NUMERIC_ARRAY:
        return array_of(RL_NUMERIC, ',');
    case OID_JSON_ARRAY:
    case OID_JSONB_ARRAY:
        return array_of(RL_JSON, ',');
    case OID_BYTEA_ARRAY:
        return array_of(RL_BYTES, ',');
    case OID_BOX_ARRAY:
        return array_of(RL_TEXT, ';');
    default:
        return is_text_array(type) ? array_of(RL_TEXT, ',') : (rl_value){.kind = RL_TEXT};
    }
}

/* One block for all of them: libpq's cells are not ours to change. */
static void decode_bytes(struct pg_result *r)
{
    unsigned rows = r->base.rows, cols = r->base.cols;
    size_t total = 0, at = 0;

    for (unsigned row = 0; row < rows; row++)
        for (unsigned col = 0; col < cols; col++)
            if (r->columns[col].kind == RL_BYTES)
                total += (size_t)PQgetlength(r->res, (int)row, (int)col) + 1;
    r->bytes = rl_calloc((size_t)rows * cols + 1, sizeof(rl_value));
    r->decoded = rl_malloc(total + 1);
    for (unsigned row = 0; row < rows; row++)
        for (unsigned col = 0; col < cols; col++) {
            size_t n = (size_t)PQgetlength(r->res, (int)row, (int)col);
            if (r->columns[col].kind != RL_BYTES)
                continue;
            memcpy(r->decoded + at, PQgetvalue(r->res, (int)row, (int)col), n + 1);
            r->bytes[(size_t)row * cols + col] = rl_pg_read(RL_BYTES, r->decoded + at, n);
            at += n + 1;
        }
}

static const char *result_name(const rl_result *base, unsigned col)
{
    return PQfname(((const struct pg_result *)base)->res, (int)col);
}

static rl_value result_cell(const rl_result *base, unsigned row, unsigned col)
{
    const struct pg_result *r = (const struct pg_result *)base;
    rl_value v = r->columns[col];

    if (PQgetisnull(r->res, (int)row, (int)col))
        return (rl_value){.kind = RL_NULL};
    if (v.kind == RL_BYTES)
        return r->bytes[(size_t)row * base->cols + col];
    char *text = PQgetvalue(r->res, (int)row, (int)col);
    if (v.kind < RL_TEXT)
        return rl_pg_read(v.kind, text, 0);
    v.s = (rl_str){text, (size_t)PQgetlength(r->res, (int)row, (int)col)};
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

/* "INSERT 0 5", "UPDATE 5" and "COPY 5" count; "SELECT 5" says what the rows say anyway. */
static uint64_t affected_by(PGresult *res)
{
    const char *tag = PQcmdStatus(res), *last = strrchr(tag, ' ');
    uint64_t n = 0;

    if (last && strchr("IUDMC", *tag) && strncmp(tag, "MOVE", 4) != 0)
        rl_str_to_u64(rl_str_of(last + 1), UINT64_MAX, &n);
    return n;
}

rl_result *rl_pg_result_new(PGresult *res)
{
    static const rl_result_ops ops = {result_name, result_cell, result_free};
    unsigned cols = (unsigned)PQnfields(res);
    struct pg_result *r = rl_calloc(1, sizeof(*r) + cols * sizeof(rl_value));
    bool bytes = false;

    r->base = (rl_result){&ops, (unsigned)PQntuples(res), cols, affected_by(res)};
    r->res = res;
    r->columns = (rl_value *)(r + 1);
    for (unsigned i = 0; i < cols; i++) {
        r->columns[i] = column_of(PQftype(res, (int)i));
        bytes |= r->columns[i].kind == RL_BYTES;
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

/* Which row of a COPY it was: a line of the context, like COPY t, line 3, column n: "x". */
static const char *place_in_copy(const PGresult *res)
{
    const char *context = PQresultErrorField(res, PG_DIAG_CONTEXT);

    while (context && strncmp(context, "COPY ", 5) != 0) {
        context = strchr(context, '\n');
        context += context != NULL;
    }
    return context;
}

void rl_pg_error(rl_err *err, const PGresult *res)
{
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *msg = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
    const char *constraint = PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME);
    const char *place = place_in_copy(res);
    char line[sizeof(err->msg)], row[120] = "";

    squeeze(line, sizeof(line), msg ? msg : PQresultErrorMessage(res));
    if (place)
        squeeze(row, sizeof(row), place);
    rl_err_set(err, state ? code_of(state) : RL_EOPERATIONAL, place ? "%s (%s)" : "%s", line, row);
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
