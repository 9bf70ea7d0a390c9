// SPDX-License-Identifier: MIT
// Text that remembers its origin: each byte of a normalised text knows the range of bytes of the
// original that it comes from.
#ifndef TOKENIZE_ALIGNED_H
#define TOKENIZE_ALIGNED_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

// A view of valid UTF-8. With from == NULL the text is the original itself, `base` bytes into it.
struct slice {
    const char *data;
    size_t size;
    const uint32_t *from, *to; // [size] original range of the character each byte belongs to
    size_t base;
};

// Original range of the character that byte i belongs to.
uint32_t slice_from(const struct slice *s, size_t i);
uint32_t slice_to(const struct slice *s, size_t i);
struct slice slice_part(const struct slice *s, size_t start, size_t end);

// A text under construction.
struct aligned {
    char *data;
    uint32_t *from, *to;
    size_t size, capacity;
};

void aligned_init(struct aligned *a);
void aligned_release(struct aligned *a);
void aligned_clear(struct aligned *a);
MUST_CHECK int aligned_put(struct aligned *a, const char *data, size_t size, uint32_t from,
                           uint32_t to, struct err *e);
MUST_CHECK int aligned_put_char(struct aligned *a, uint32_t c, uint32_t from, uint32_t to,
                                struct err *e);
// Appends bytes start .. end-1 of `s` with their places.
MUST_CHECK int aligned_copy(struct aligned *a, const struct slice *s, size_t start, size_t end,
                            struct err *e);
struct slice aligned_view(const struct aligned *a);

// Two buffers by turns, for chains of rewriting steps: the text of one step is the input of the
// next.
struct aligned_pair {
    struct aligned a[2];
    int turn;
};
void aligned_pair_init(struct aligned_pair *p);
void aligned_pair_release(struct aligned_pair *p);
struct aligned *aligned_pair_next(struct aligned_pair *p); // cleared; not the one handed out last

#endif
