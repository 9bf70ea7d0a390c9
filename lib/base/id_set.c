// SPDX-License-Identifier: MIT
#include "base/id_set.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"

void id_set_init(struct id_set *s)
{
    memset(s, 0, sizeof *s);
}

void id_set_release(struct id_set *s)
{
    free(s->slot);
    id_set_init(s);
}

static size_t find(const struct id_set *s, uint64_t key)
{
    size_t i = key & (s->n_slots - 1);
    while (s->slot[i] && s->slot[i] != key)
        i = (i + 1) & (s->n_slots - 1);
    return i;
}

static int grow(struct id_set *s, struct err *e)
{
    struct id_set wider = {NULL, s->n_slots ? 2 * s->n_slots : 1024, s->n};
    wider.slot = mem_alloc(wider.n_slots, sizeof *wider.slot, "record ids", e);
    if (!wider.slot)
        return -1;
    for (size_t i = 0; i < s->n_slots; i++)
        if (s->slot[i])
            wider.slot[find(&wider, s->slot[i])] = s->slot[i];
    free(s->slot);
    *s = wider;
    return 0;
}

int id_set_add(struct id_set *s, const char *id, size_t size, struct err *e)
{
    if (2 * (s->n + 1) > s->n_slots && grow(s, e) < 0)
        return -1;
    uint64_t key = hash_bytes(id, size);
    key += key == 0;
    size_t i = find(s, key);
    if (s->slot[i])
        return 0;
    s->slot[i] = key;
    s->n++;
    return 1;
}
