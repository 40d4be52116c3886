/* SQLite types values, not columns. What a column was declared as decides where its own
 * types are too few: BOOLEAN, JSON, and decimal numbers, which are read as text when they can
 * be without loss. Columns that are expressions have no declaration. */
#include "db/sqlite_row.h"

#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* One block: this, the names, the cells, their bytes. */
struct sqlite_result {
    rl_result base;
    const char **names;
    rl_value *cells;
};

typedef enum declared { PLAIN, BOOLEAN, JSON, DECIMAL } declared;

int rl_sqlite_bind(sqlite3_stmt *stmt, int at, const rl_value *v)
{
    switch (v->kind) {
    case RL_NULL:
        return sqlite3_bind_null(stmt, at);
    case RL_BOOL:
        return sqlite3_bind_int(stmt, at, v->i != 0);
    case RL_INT:
        return sqlite3_bind_int64(stmt, at, v->i);
    case RL_FLOAT:
        return sqlite3_bind_double(stmt, at, v->f);
    case RL_BYTES:
        return sqlite3_bind_blob64(stmt, at, v->s.n ? v->s.p : "", v->s.n, SQLITE_STATIC);
    case RL_TEXT:
    case RL_NUMERIC:
    case RL_JSON:
        return sqlite3_bind_text64(stmt, at, v->s.n ? v->s.p : "", v->s.n, SQLITE_STATIC,
                                   SQLITE_UTF8);
    case RL_ARRAY: /* refused before */
        break;
    }
    return SQLITE_MISUSE;
}

static declared declared_as(const char *type)
{
    if (!type)
        return PLAIN;
    if (strncasecmp(type, "BOOL", 4) == 0)
        return BOOLEAN;
    if (strncasecmp(type, "JSON", 4) == 0)
        return JSON;
    if (strncasecmp(type, "NUMERIC", 7) == 0 || strncasecmp(type, "DECIMAL", 7) == 0)
        return DECIMAL;
    return PLAIN;
}

/* Bytes go to data, and the cell remembers where they begin until data stops moving. */
static rl_value keep(rl_buf *data, rl_kind kind, const void *p, size_t n)
{
    rl_value v = {.kind = kind, .s = {(const char *)(uintptr_t)data->len, n}};

    rl_buf_add(data, p, n);
    rl_buf_add_c(data, '\0');
    return v;
}

static bool is_decimal(const char *s, size_t n)
{
    size_t digits = 0;

    for (size_t i = 0; i < n; i++) {
        if (s[i] >= '0' && s[i] <= '9')
            digits++;
        else if (!strchr("+-.eE", s[i]) || !s[i])
            return false;
    }
    return digits > 0;
}

static rl_value cell_of(sqlite3_stmt *stmt, int col, declared as, rl_buf *data)
{
    char number[40];
    rl_value v = {.kind = RL_NULL};

    switch (sqlite3_column_type(stmt, col)) {
    case SQLITE_INTEGER:
        v.kind = as == BOOLEAN ? RL_BOOL : RL_INT;
        v.i = sqlite3_column_int64(stmt, col);
        if (as == BOOLEAN && (v.i & ~(int64_t)1))
            v.kind = RL_INT;
        if (as == DECIMAL) {
            int n = snprintf(number, sizeof(number), "%lld", (long long)v.i);
            return keep(data, RL_NUMERIC, number, (size_t)n);
        }
        return v;
    case SQLITE_FLOAT:
        v.kind = RL_FLOAT;
        v.f = sqlite3_column_double(stmt, col);
        if (as == DECIMAL) {
            int n = snprintf(number, sizeof(number), "%.15g", v.f);
            if (strtod(number, NULL) == v.f && is_decimal(number, (size_t)n))
                return keep(data, RL_NUMERIC, number, (size_t)n);
        }
        return v;
    case SQLITE_BLOB: {
        const void *p = sqlite3_column_blob(stmt, col);
        return keep(data, RL_BYTES, p, (size_t)sqlite3_column_bytes(stmt, col));
    }
    case SQLITE_TEXT: {
        const char *p = (const char *)sqlite3_column_text(stmt, col);
        size_t n = (size_t)sqlite3_column_bytes(stmt, col);
        rl_kind kind = as == JSON                          ? RL_JSON
                       : as == DECIMAL && is_decimal(p, n) ? RL_NUMERIC
                                                           : RL_TEXT;
        return keep(data, kind, p, n);
    }
    default:
        return v;
    }
}

static const char *result_name(const rl_result *r, unsigned col)
{
    return ((const struct sqlite_result *)r)->names[col];
}

static rl_value result_cell(const rl_result *r, unsigned row, unsigned col)
{
    return ((const struct sqlite_result *)r)->cells[(size_t)row * r->cols + col];
}

static void result_free(rl_result *r)
{
    rl_free(r);
}

static rl_result *assemble(const rl_buf *cells, const rl_buf *data, unsigned rows, unsigned cols)
{
    static const rl_result_ops ops = {result_name, result_cell, result_free};
    size_t names_size = cols * sizeof(char *);
    struct sqlite_result *r = rl_malloc(sizeof(*r) + names_size + cells->len + data->len);
    char *bytes = (char *)(r + 1) + names_size + cells->len, *name = bytes;

    r->base = (rl_result){.ops = &ops, .rows = rows, .cols = cols};
    r->names = (const char **)(r + 1);
    r->cells = (rl_value *)((char *)(r + 1) + names_size);
    if (cells->len)
        memcpy(r->cells, cells->data, cells->len);
    if (data->len)
        memcpy(bytes, data->data, data->len);
    for (unsigned i = 0; i < cols; i++) { /* the names come first among the bytes */
        r->names[i] = name;
        name += strlen(name) + 1;
    }
    for (size_t i = 0; i < (size_t)rows * cols; i++)
        if (r->cells[i].kind >= RL_TEXT)
            r->cells[i].s.p = bytes + (uintptr_t)r->cells[i].s.p;
    return &r->base;
}

rl_result *rl_sqlite_collect(sqlite3_stmt *stmt, int *rc)
{
    rl_buf cells = {0}, data = {0};
    unsigned rows = 0, cols;
    rl_result *r = NULL;

    *rc = stmt ? sqlite3_step(stmt) : SQLITE_DONE;
    /* Only now: a step compiles the statement anew when the schema has changed. */
    cols = stmt ? (unsigned)sqlite3_column_count(stmt) : 0;
    declared *as = rl_calloc(cols + 1, sizeof(*as));
    for (unsigned i = 0; i < cols; i++) {
        const char *name = sqlite3_column_name(stmt, (int)i);
        as[i] = declared_as(sqlite3_column_decltype(stmt, (int)i));
        rl_buf_add(&data, name ? name : "", strlen(name ? name : "") + 1);
    }
    for (; *rc == SQLITE_ROW; *rc = sqlite3_step(stmt), rows++)
        for (unsigned i = 0; i < cols; i++) {
            rl_value v = cell_of(stmt, (int)i, as[i], &data);
            rl_buf_add(&cells, &v, sizeof(v));
        }
    if (*rc == SQLITE_DONE)
        r = assemble(&cells, &data, rows, cols);
    rl_free(as);
    rl_buf_fini(&cells);
    rl_buf_fini(&data);
    return r;
}
