/* list.h - intrusive doubly linked lists, circular around a head.
 *
 * A node that is on no list points at itself, so removing twice is harmless and
 * rl_list_alone() answers "is it on a list?". Initialise heads and nodes alike. */
#ifndef RL_BASE_LIST_H
#define RL_BASE_LIST_H

#include "base/base.h"

typedef struct rl_list {
    struct rl_list *next;
    struct rl_list *prev;
} rl_list;

static inline void rl_list_init(rl_list *l)
{
    l->next = l->prev = l;
}

static inline bool rl_list_empty(const rl_list *head)
{
    return head->next == head;
}

static inline bool rl_list_alone(const rl_list *node)
{
    return node->next == node;
}

static inline void rl_list_insert_before(rl_list *at, rl_list *node)
{
    node->prev = at->prev;
    node->next = at;
    at->prev->next = node;
    at->prev = node;
}

static inline void rl_list_push(rl_list *head, rl_list *node) /* at the back */
{
    rl_list_insert_before(head, node);
}

static inline void rl_list_push_front(rl_list *head, rl_list *node)
{
    rl_list_insert_before(head->next, node);
}

static inline void rl_list_remove(rl_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    rl_list_init(node);
}

static inline rl_list *rl_list_first(const rl_list *head) /* NULL when empty */
{
    return head->next == head ? NULL : head->next;
}

static inline rl_list *rl_list_last(const rl_list *head) /* NULL when empty */
{
    return head->prev == head ? NULL : head->prev;
}

static inline rl_list *rl_list_pop(rl_list *head) /* from the front; NULL when empty */
{
    rl_list *node = rl_list_first(head);

    if (node)
        rl_list_remove(node);
    return node;
}

/* Move everything from `from` to the (empty, initialised) list `to`. */
static inline void rl_list_take(rl_list *to, rl_list *from)
{
    if (rl_list_empty(from))
        return;
    *to = *from;
    to->next->prev = to;
    to->prev->next = to;
    rl_list_init(from);
}

#define RL_LIST_ENTRY(node, type, member) RL_CONTAINER_OF(node, type, member)

/* The body may remove the node it is at, and no other. */
#define RL_LIST_EACH(it, head)                                            \
    for (rl_list *it = (head)->next, *it##_next = it->next; it != (head); \
         it = it##_next, it##_next = it->next)

#endif
