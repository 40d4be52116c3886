#include "proto/http_head.h"

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

rl_http_field rl_http_field_at(const rl_http_head *head, size_t i)
{
    RL_CHECK(i < rl_http_field_count(head));
    const place *it = &places(head)[i];
    const char *name = head->bytes.data + it->at;

    return (rl_http_field){{name, it->name}, {name + it->name, it->value}};
}

bool rl_http_field_get(const rl_http_head *head, rl_str name, rl_str *value)
{
    for (size_t i = 0, n = rl_http_field_count(head); i < n; i++) {
        rl_http_field field = rl_http_field_at(head, i);
        if (rl_str_eq(field.name, name)) {
            *value = field.value;
            return true;
        }
    }
    return false;
}

size_t rl_http_field_times(const rl_http_head *head, rl_str name)
{
    size_t times = 0;

    for (size_t i = 0, n = rl_http_field_count(head); i < n; i++)
        times += rl_str_eq(rl_http_field_at(head, i).name, name);
    return times;
}

bool rl_http_field_lists(const rl_http_head *head, rl_str name, rl_str token)
{
    for (size_t i = 0, n = rl_http_field_count(head); i < n; i++) {
        rl_http_field field = rl_http_field_at(head, i);
        if (rl_str_eq(field.name, name) && rl_str_list_has(field.value, token))
            return true;
    }
    return false;
}

void rl_http_put_method(rl_http_head *head, rl_str piece)
{
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
