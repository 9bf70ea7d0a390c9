// SPDX-License-Identifier: MIT
// Numbers strings in the order in which they are first seen: the groups of a batch (prompts).
#ifndef BASE_INTERN_H
#define BASE_INTERN_H

#include "base/memory.h"
#include <stdint.h>

struct group_table {
    uint32_t n;     // groups so far
    uint32_t *slot; // open addressing: number + 1, or 0
    size_t n_slots; // a power of two, at least twice n
    size_t *end;    // [n]: where each string ends in `text`
    size_t end_capacity;
    struct buffer text;
};

void group_table_init(struct group_table *g);
void group_table_release(struct group_table *g);
void group_table_clear(struct group_table *g); // forgets the groups, keeps the memory
// The number of this string, a new one if it was not there; -1 when memory is out.
int64_t group_find(struct group_table *g, const char *text, size_t size, struct err *e);

#endif
