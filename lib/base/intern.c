// SPDX-License-Identifier: MIT
#include "base/hash.h"
#include "base/intern.h"

#include <stdlib.h>
#include <string.h>

void group_table_init(struct group_table *g)
{
    memset(g, 0, sizeof *g);
    buffer_init(&g->text, 0);
}

void group_table_release(struct group_table *g)
{
    free(g->slot);
    free(g->end);
    buffer_release(&g->text);
    group_table_init(g);
}

void group_table_clear(struct group_table *g)
{
    g->n = 0;
    if (g->slot)
        memset(g->slot, 0, g->n_slots * sizeof *g->slot);
    buffer_clear(&g->text);
}

static const char *text_of(const struct group_table *g, uint32_t i, size_t *size)
{
    size_t begin = i ? g->end[i - 1] : 0;
    *size = g->end[i] - begin;
    return g->text.data + begin;
}

// The slot that holds this string, or the empty one where it belongs.
static size_t find_slot(const struct group_table *g, const char *text, size_t size)
{
    size_t at = hash_bytes(text, size) & (g->n_slots - 1);
    for (; g->slot[at]; at = (at + 1) & (g->n_slots - 1)) {
        size_t length;
        const char *there = text_of(g, g->slot[at] - 1, &length);
        if (length == size && memcmp(there, text, size) == 0)
            break;
    }
    return at;
}

static int enlarge(struct group_table *g, struct err *e)
{
    size_t n = g->n_slots ? 2 * g->n_slots : 64;
    uint32_t *slot = mem_alloc(n, sizeof *slot, "groups", e);
    if (!slot)
        return -1;
    free(g->slot);
    g->slot = slot;
    g->n_slots = n;
    for (uint32_t i = 0; i < g->n; i++) {
        size_t size;
        const char *text = text_of(g, i, &size);
        g->slot[find_slot(g, text, size)] = i + 1;
    }
    return 0;
}

int64_t group_find(struct group_table *g, const char *text, size_t size, struct err *e)
{
    if (2 * ((size_t)g->n + 1) > g->n_slots && enlarge(g, e) < 0)
        return -1;
    size_t at = find_slot(g, text, size);
    if (g->slot[at])
        return g->slot[at] - 1;
    if (g->n == UINT32_MAX - 1)
        return err_set(e, STATUS_FAILED, "more than %u prompts in one batch", g->n);
    void *end = g->end;
    if (mem_grow(&end, &g->end_capacity, (size_t)g->n + 1, sizeof *g->end, "groups", e) < 0)
        return -1;
    g->end = end;
    if (buffer_append(&g->text, text, size, e) < 0)
        return -1;
    g->end[g->n] = g->text.size;
    g->slot[at] = ++g->n;
    return g->n - 1;
}
