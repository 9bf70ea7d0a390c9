// SPDX-License-Identifier: MIT
#include "tokenize/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

void vocabulary_init(struct vocabulary *v)
{
    memset(v, 0, sizeof *v);
    buffer_init(&v->text, UINT32_MAX - 1);
}

void vocabulary_release(struct vocabulary *v)
{
    buffer_release(&v->text);
    free(v->entry);
    free(v->slot);
    vocabulary_init(v);
}

const char *vocabulary_text(const struct vocabulary *v, uint32_t id, size_t *size)
{
    if (id >= v->n_ids || v->entry[id].offset == UINT32_MAX)
        return NULL;
    *size = v->entry[id].size;
    return v->text.data + v->entry[id].offset;
}

size_t vocabulary_count(const struct vocabulary *v)
{
    return v->n_used;
}

// The slot of the string, or the free slot where it would go.
static size_t find_slot(const struct vocabulary *v, const char *text, size_t size)
{
    size_t mask = v->n_slots - 1, i = hash_bytes(text, size) & mask;
    while (v->slot[i]) {
        const struct vocabulary_entry *entry = &v->entry[v->slot[i] - 1];
        if (entry->size == size && !memcmp(v->text.data + entry->offset, text, size))
            break;
        i = (i + 1) & mask;
    }
    return i;
}

static int grow_slots(struct vocabulary *v, struct err *e)
{
    size_t n = v->n_slots ? 2 * v->n_slots : 1024;
    uint32_t *old = v->slot;
    size_t n_old = v->n_slots;
    v->slot = mem_alloc(n, sizeof *v->slot, "a vocabulary", e);
    if (!v->slot) {
        v->slot = old;
        return -1;
    }
    v->n_slots = n;
    for (size_t i = 0; i < n_old; i++)
        if (old[i]) {
            const struct vocabulary_entry *entry = &v->entry[old[i] - 1];
            v->slot[find_slot(v, v->text.data + entry->offset, entry->size)] = old[i];
        }
    free(old);
    return 0;
}

int vocabulary_add(struct vocabulary *v, const char *text, size_t size, uint32_t id, struct err *e)
{
    if (id >= VOCABULARY_ID_MAX)
        return err_set(e, STATUS_FAILED, "token id %u is beyond %d", id, VOCABULARY_ID_MAX - 1);
    if (2 * (v->n_used + 1) > v->n_slots && grow_slots(v, e) < 0)
        return -1;
    if (MEM_GROW(v->entry, v->entry_capacity, (size_t)id + 1, "a vocabulary", e) < 0)
        return -1;
    while (v->n_ids <= id)
        v->entry[v->n_ids++] = (struct vocabulary_entry){UINT32_MAX, 0};
    size_t slot = find_slot(v, text, size);
    uint32_t offset;
    if (v->slot[slot]) {
        offset = v->entry[v->slot[slot] - 1].offset;
    } else {
        offset = (uint32_t)v->text.size;
        if (buffer_append(&v->text, text, size, e) < 0)
            return -1;
        v->n_used++;
    }
    v->entry[id] = (struct vocabulary_entry){offset, (uint32_t)size};
    v->slot[slot] = id + 1;
    return 0;
}

int64_t vocabulary_find(const struct vocabulary *v, const char *text, size_t size)
{
    if (!v->n_slots)
        return -1;
    uint32_t id = v->slot[find_slot(v, text, size)];
    return id ? (int64_t)id - 1 : -1;
}
