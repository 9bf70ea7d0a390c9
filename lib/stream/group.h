// SPDX-License-Identifier: MIT
// Numbers equal texts: the first one is 0, the next that differs 1, and so on.
#ifndef STREAM_GROUP_H
#define STREAM_GROUP_H

#include "base/memory.h"

struct groups {
    struct group *group;
    size_t n, capacity;
    size_t *slot; // [n_slots]: 1 + group, 0: free
    size_t n_slots;
    struct buffer text;
};

void groups_init(struct groups *g);
void groups_release(struct groups *g);
int64_t groups_number(struct groups *g, const void *text, size_t size, struct err *e); // or -1

#endif
