// SPDX-License-Identifier: MIT
// A matrix or vector with its element type, where it lives in memory, and its gradient.
#ifndef OPS_TENSOR_H
#define OPS_TENSOR_H

#include <stddef.h>
#include <stdint.h>

enum dtype { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_F64 };

// A vector has rows = 1. data == NULL: the tensor does not exist (a bias that the model has not).
// Not owned. Element (r, c) lies at r * pitch + c, or, `transposed`, at c * pitch + r (GPT-2's
// Conv1D keeps [in, out]); pitch 0: contiguous. So a tensor may be a part of a fused one.
struct tensor {
    const void *data;
    enum dtype type;
    size_t rows, cols, pitch;
    int transposed;
    float *grad; // laid out as data, accumulated by backward operations; NULL: frozen
};
static inline size_t tensor_pitch(const struct tensor *t)
{
    return t->pitch ? t->pitch : t->transposed ? t->rows : t->cols;
}

size_t dtype_size(enum dtype type);
const char *dtype_name(enum dtype type); // as safetensors spells it: F32, F16, BF16, F64
// Converts n elements. `to` may be `from` only when the types are the same size. `from` of
// dtype_to_f32 may begin anywhere.
void dtype_to_f32(float *to, const void *from, enum dtype type, size_t n);
void dtype_from_f32(void *to, const float *from, enum dtype type, size_t n); // nearest even

#endif
