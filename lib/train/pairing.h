// SPDX-License-Identifier: MIT
// Finds the pairs among the records of a frame: two records with the same value in the column
// `pair`, one with the role `demo` or `chosen` and the other with `sample` or `rejected`.
#ifndef TRAIN_PAIRING_H
#define TRAIN_PAIRING_H

#include "base/intern.h"
#include "stream/frame.h"

// Indices of two records; SIZE_MAX: not seen yet.
enum { PAIR_PREFERRED, PAIR_OTHER };
struct pair {
    size_t member[2];
};

struct pairing {
    struct intern names;
    struct pair *pair; // [names.n] in the order of their first records
    size_t capacity;
    size_t complete; // pairs that have both
};

void pairing_init(struct pairing *p);
void pairing_release(struct pairing *p);
void pairing_clear(struct pairing *p); // forgets the pairs, keeps the memory
// Takes record i of the frame. Returns 1 when it completes its pair, 0 when it is the first of it,
// -1 (STATUS_STREAM) when the role is unknown or the pair has that role, or two records, already.
// `pair`, `role`: columns of the frame; `where`: the stream's name.
int pairing_add(struct pairing *p, const struct frame *f, int pair, int role, size_t i,
                const char *where, struct err *e);
int pair_is_complete(const struct pair *p);
// -1 (STATUS_STREAM) where a pair lacks its second record; names both.
int pairing_check(const struct pairing *p, const struct frame *f, int pair, const char *where,
                  struct err *e);

#endif
