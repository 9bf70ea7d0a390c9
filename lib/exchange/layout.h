// SPDX-License-Identifier: MIT
// How the values of a tensor lie in a GGUF file, and in ours: the order of rows, norms that count
// from 1, matrices [in, out].
#ifndef EXCHANGE_LAYOUT_H
#define EXCHANGE_LAYOUT_H

#include "exchange/architecture.h"

struct layout {
    const struct model_config *config;
    const struct architecture *a;
    enum tensor_role role;
    char name[STEM_NAME]; // in the GGUF file
    int n_dims;
    size_t rows, cols; // there; rows = 1 for vectors. Norms with a tensor per head are one matrix
};

// 0, or -1 where the architecture has no place for the tensor.
MUST_CHECK int layout_of(struct layout *l, const struct model_config *c,
                         const struct architecture *a, enum tensor_role role, size_t layer);
// Whether the values are the same in both: then nothing needs to be moved.
int layout_is_plain(const struct layout *l);
// All values, [rows * cols]: from the file's order to ours, and back.
void layout_from_file(const struct layout *l, float *to, const float *from);
void layout_to_file(const struct layout *l, float *to, const float *from);

#endif
