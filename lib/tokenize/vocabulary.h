// SPDX-License-Identifier: MIT
// Strings with ids, both ways.
#ifndef TOKENIZE_VOCABULARY_H
#define TOKENIZE_VOCABULARY_H

#include "base/error.h"
#include "base/memory.h"
#include <stddef.h>
#include <stdint.h>

enum { VOCABULARY_ID_MAX = 1 << 24 }; // ids are below this

struct vocabulary {
    struct buffer text;
    struct vocabulary_entry {
        uint32_t offset, size; // in text; offset UINT32_MAX: no such id
    } * entry;
    size_t n_ids, entry_capacity; // largest id + 1
    uint32_t *slot;               // id + 1, or 0
    size_t n_slots, n_used;
};

void vocabulary_init(struct vocabulary *v);
void vocabulary_release(struct vocabulary *v);
// Adds or replaces. A string that is there gets the new id.
MUST_CHECK int vocabulary_add(struct vocabulary *v, const char *text, size_t size, uint32_t id,
                              struct err *e);
int64_t vocabulary_find(const struct vocabulary *v, const char *text, size_t size); // -1: none
// Borrowed; NULL when there is no such id.
const char *vocabulary_text(const struct vocabulary *v, uint32_t id, size_t *size);
size_t vocabulary_count(const struct vocabulary *v); // different strings

#endif
