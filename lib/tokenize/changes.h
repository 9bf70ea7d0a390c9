// SPDX-License-Identifier: MIT
// How normalization rewrites characters, and how that changes their offsets: exactly as in the
// reference library, to the byte.
#ifndef TOKENIZE_CHANGES_H
#define TOKENIZE_CHANGES_H

#include "tokenize/aligned.h"

// A character of the new text and how it changes the old one: 0 stands for one old character, -k
// for one and k more that vanish, 1 is put in beside the character before it.
struct change {
    uint32_t c;
    int change;
    int combining; // of c, where the maker of the list wants it
};

struct change_list {
    struct change *c;
    size_t n, capacity;
};

MUST_CHECK int change_add(struct change_list *l, uint32_t c, int change, int combining,
                          struct err *e);
void change_list_release(struct change_list *l);
// Appends the changed characters in place of the bytes of `in` from `at` on.
MUST_CHECK int change_apply(const struct change_list *l, const struct slice *in, size_t at,
                            struct aligned *out, struct err *e);

#endif
