// SPDX-License-Identifier: MIT
// The most similar of several names, to suggest for one that does not exist.
#ifndef BASE_NEAREST_H
#define BASE_NEAREST_H

#include <stddef.h>

// Points to strings of the caller.
struct nearest {
    const char *word;
    const char *name; // the nearest so far, or NULL
    size_t distance;
};

void nearest_init(struct nearest *n, const char *word);
void nearest_try(struct nearest *n, const char *name);
// The name, or NULL where none is near: more than a third of its letters differ.
const char *nearest_name(const struct nearest *n);

#endif
