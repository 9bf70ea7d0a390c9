// SPDX-License-Identifier: MIT
// Numbers strings in the order in which they are first seen: the first is 0, the next different one
// 1, and so on.
#ifndef BASE_INTERN_H
#define BASE_INTERN_H

#include "base/memory.h"
#include <stdint.h>

struct intern {
    uint32_t n;                   // strings so far
    uint32_t *slot;               // [n_slots], open addressing: number + 1, or 0
    size_t n_slots;               // a power of two, at least twice n
    struct intern_string *string; // [n]
    size_t capacity;
    struct buffer text; // of all strings
};

void intern_init(struct intern *t);
void intern_release(struct intern *t);
void intern_clear(struct intern *t); // forgets the strings, keeps the memory
// The number of this string, a new one if it was not there; -1 with *e filled when memory or
// numbers are out.
int64_t intern_number(struct intern *t, const void *text, size_t size, struct err *e);

#endif
