// SPDX-License-Identifier: MIT
// The record ids seen so far, as 64-bit hashes: at most 16 bytes per record, twice over.
#ifndef BASE_ID_SET_H
#define BASE_ID_SET_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

struct id_set {
    uint64_t *slot; // 0: free
    size_t n_slots, n;
};
void id_set_init(struct id_set *s);
void id_set_release(struct id_set *s);
// 1: new; 0: seen before; -1: out of memory. (Two ids share a hash once in 2^64 pairs.)
MUST_CHECK int id_set_add(struct id_set *s, const char *id, size_t size, struct err *e);

#endif
