// SPDX-License-Identifier: MIT
#include "base/intern.h"
#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

struct intern_string {
    uint64_t hash;
    size_t begin, size; // in `text`
};

void intern_init(struct intern *t)
{
    memset(t, 0, sizeof *t);
    buffer_init(&t->text, 0);
}

void intern_release(struct intern *t)
{
    free(t->slot);
    free(t->string);
    buffer_release(&t->text);
    intern_init(t);
}

void intern_clear(struct intern *t)
{
    t->n = 0;
    if (t->slot)
        memset(t->slot, 0, t->n_slots * sizeof *t->slot);
    buffer_clear(&t->text);
}

// The slot that holds this string, or the empty one where it belongs.
static size_t find_slot(const struct intern *t, uint64_t hash, const void *text, size_t size)
{
    size_t at = hash & (t->n_slots - 1);
    for (; t->slot[at]; at = (at + 1) & (t->n_slots - 1)) {
        const struct intern_string *known = &t->string[t->slot[at] - 1];
        if (known->hash == hash && known->size == size &&
            (!size || memcmp(t->text.data + known->begin, text, size) == 0))
            break;
    }
    return at;
}

static int enlarge(struct intern *t, struct err *e)
{
    size_t n = t->n_slots ? 2 * t->n_slots : 64;
    uint32_t *slot = mem_alloc(n, sizeof *slot, "numbered strings", e);
    if (!slot)
        return -1;
    for (uint32_t i = 0; i < t->n; i++) {
        size_t at = t->string[i].hash & (n - 1);
        while (slot[at])
            at = (at + 1) & (n - 1);
        slot[at] = i + 1;
    }
    free(t->slot);
    t->slot = slot;
    t->n_slots = n;
    return 0;
}

int64_t intern_number(struct intern *t, const void *text, size_t size, struct err *e)
{
    uint64_t hash = hash_bytes(text, size);
    if (2 * ((size_t)t->n + 1) > t->n_slots && enlarge(t, e) < 0)
        return -1;
    size_t at = find_slot(t, hash, text, size);
    if (t->slot[at])
        return t->slot[at] - 1;
    if (t->n == UINT32_MAX - 1)
        return err_set(e, STATUS_FAILED, "more than %u different strings", t->n);
    if (MEM_GROW(t->string, t->capacity, (size_t)t->n + 1, "numbered strings", e) < 0)
        return -1;
    t->string[t->n] = (struct intern_string){hash, t->text.size, size};
    if (buffer_append(&t->text, text, size, e) < 0)
        return -1;
    t->slot[at] = ++t->n;
    return t->n - 1;
}
