// SPDX-License-Identifier: MIT
// Writing GGUF version 3: keys, descriptions of tensors, then their data in the same order.
#ifndef GGUF_WRITER_H
#define GGUF_WRITER_H

#include "base/memory.h"
#include "gguf/file.h"
#include <jansson.h>

struct gguf_entry {
    char name[GGUF_NAME_MAX];
    enum gguf_type type;
    int n_dims;
    size_t dim[GGUF_DIMS]; // the fastest first
};

size_t gguf_entry_bytes(const struct gguf_entry *t); // of its data
size_t gguf_padded(size_t bytes);                    // up to the next tensor
// What stands before the data, padded. keys: an object of whole numbers (u32, or i64 beyond),
// reals (f32), truths, texts and lists of these (whole numbers as i32).
MUST_CHECK int gguf_head(struct buffer *out, const json_t *keys, const struct gguf_entry *tensor,
                         size_t n, struct err *e);

#endif
