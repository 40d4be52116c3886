#include "proto/http_head.h"

/* Room for most heads, without growing step by step. */
enum { USUAL_BYTES = 512, USUAL_FIELDS = 16 };

typedef struct place {
    uint32_t at;    /* of the name in bytes; the value is behind it */
    uint32_t name;  /* length */
    uint32_t value; /* length */
} place;

static place *places(const rl_http_head *head)
{
    return (place *)(void *)head->fields.data;
}

static place *last_place(rl_http_head *head)
{
    size_t count = rl_http_field_count(head);

    RL_CHECK(count > 0);
    return &places(head)[count - 1];
}

void rl_http_head_fini(rl_http_head *head)
{
    rl_buf_fini(&head->bytes);
    rl_buf_fini(&head->fields);
    *head = (rl_http_head){0};
}

void rl_http_head_clear(rl_http_head *head)
{
    rl_buf bytes = head->bytes, fields = head->fields;

    bytes.len = fields.len = 0;
    *head = (rl_http_head){.bytes = bytes, .fields = fields};
}

size_t rl_http_field_count(const rl_http_head *head)
{
    return head->fields.len / sizeof(place);
}

static rl_http_field field_at(const rl_http_head *head, const place *it)
{
    const char *name = head->bytes.data + it->at;

    return (rl_http_field){{name, it->name}, {name + it->name, it->value}};
}

rl_http_field rl_http_field_at(const rl_http_head *head, size_t i)
{
    RL_CHECK(i < rl_http_field_count(head));
    return field_at(head, &places(head)[i]);
}

/* The first of this name from the one at `from` on: its number, or that behind the last. A head is
 * asked a dozen times, so it is the lengths that are compared first. */
static size_t find(const rl_http_head *head, size_t from, rl_str name)
{
    const place *all = places(head);
    size_t i = from, n = rl_http_field_count(head);

    while (i < n &&
           (all[i].name != name.n || memcmp(head->bytes.data + all[i].at, name.p, name.n) != 0))
        i++;
    return i;
}

bool rl_http_field_get(const rl_http_head *head, rl_str name, rl_str *value)
{
    size_t i = find(head, 0, name);

    if (i == rl_http_field_count(head))
        return false;
    *value = field_at(head, &places(head)[i]).value;
    return true;
}

size_t rl_http_field_times(const rl_http_head *head, rl_str name)
{
    size_t times = 0, n = rl_http_field_count(head);

    for (size_t i = find(head, 0, name); i < n; i = find(head, i + 1, name))
        times++;
    return times;
}

bool rl_http_field_lists(const rl_http_head *head, rl_str name, rl_str token)
{
    size_t n = rl_http_field_count(head);

    for (size_t i = find(head, 0, name); i < n; i = find(head, i + 1, name))
        if (rl_str_list_has(field_at(head, &places(head)[i]).value, token))
            return true;
    return false;
}

void rl_http_put_method(rl_http_head *head, rl_str piece)
{
    if (!head->bytes.cap)
        rl_buf_reserve(&head->bytes, USUAL_BYTES);
    rl_buf_add_str(&head->bytes, piece);
    head->method += (uint32_t)piece.n;
}

void rl_http_put_target(rl_http_head *head, rl_str piece)
{
    rl_buf_add_str(&head->bytes, piece);
    head->target += (uint32_t)piece.n;
}

void rl_http_put_field(rl_http_head *head)
{
    place it = {.at = (uint32_t)head->bytes.len};

    if (!head->fields.cap)
        rl_buf_reserve(&head->fields, USUAL_FIELDS * sizeof(it));
    rl_buf_add(&head->fields, &it, sizeof(it));
}

void rl_http_put_name(rl_http_head *head, rl_str piece)
{
    rl_buf_reserve(&head->bytes, piece.n);
    for (size_t i = 0; i < piece.n; i++) {
        char c = piece.p[i];
        head->bytes.data[head->bytes.len++] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    last_place(head)->name += (uint32_t)piece.n;
}

void rl_http_put_value(rl_http_head *head, rl_str piece)
{
    rl_buf_add_str(&head->bytes, piece);
    last_place(head)->value += (uint32_t)piece.n;
}

void rl_http_put_end(rl_http_head *head)
{
    place *it = last_place(head);
    char *value = head->bytes.data + it->at + it->name;
    rl_str trimmed = rl_str_trim((rl_str){value, it->value});

    memmove(value, trimmed.p, trimmed.n);
    it->value = (uint32_t)trimmed.n;
    head->bytes.len = it->at + it->name + it->value;
}
