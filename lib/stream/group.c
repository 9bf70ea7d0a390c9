// SPDX-License-Identifier: MIT
#include "stream/group.h"
#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

struct group {
    uint64_t hash;
    size_t begin, size; // in `text`
};

void groups_init(struct groups *g)
{
    memset(g, 0, sizeof *g);
    buffer_init(&g->text, 0);
}

void groups_release(struct groups *g)
{
    free(g->group);
    free(g->slot);
    buffer_release(&g->text);
    memset(g, 0, sizeof *g);
}

static int grow(struct groups *g, struct err *e)
{
    size_t n_slots = g->n_slots ? 2 * g->n_slots : 64;
    size_t *slot = mem_alloc(n_slots, sizeof *slot, "groups", e);
    if (!slot)
        return -1;
    for (size_t i = 0; i < g->n; i++) {
        size_t k = g->group[i].hash & (n_slots - 1);
        while (slot[k])
            k = (k + 1) & (n_slots - 1);
        slot[k] = i + 1;
    }
    free(g->slot);
    g->slot = slot;
    g->n_slots = n_slots;
    return 0;
}

int64_t groups_number(struct groups *g, const void *text, size_t size, struct err *e)
{
    uint64_t hash = hash_bytes(text, size);
    if (2 * (g->n + 1) > g->n_slots && grow(g, e) < 0)
        return -1;
    size_t k = hash & (g->n_slots - 1);
    for (; g->slot[k]; k = (k + 1) & (g->n_slots - 1)) {
        const struct group *known = &g->group[g->slot[k] - 1];
        if (known->hash == hash && known->size == size &&
            memcmp(g->text.data + known->begin, text, size) == 0)
            return (int64_t)g->slot[k] - 1;
    }
    if (mem_grow((void **)&g->group, &g->capacity, g->n + 1, sizeof *g->group, "groups", e) < 0)
        return -1;
    g->group[g->n] = (struct group){hash, g->text.size, size};
    if (buffer_append(&g->text, text, size, e) < 0)
        return -1;
    g->slot[k] = ++g->n;
    return (int64_t)g->n - 1;
}
