// SPDX-License-Identifier: MIT
// Tensors of narrower types as fp32.
#include "ops/cpu/cpu.h"

const float *cpu_f32(struct device *d, const struct tensor *t, size_t *pitch, struct err *e)
{
    size_t lines = t->transposed ? t->cols : t->rows, length = t->transposed ? t->rows : t->cols;
    size_t apart = tensor_pitch(t), size = dtype_size(t->type);
    if (pitch)
        *pitch = t->type == DTYPE_F32 ? apart : length;
    if (t->type == DTYPE_F32)
        return t->data;
    float *wide = arena_alloc(&d->scratch, lines * length, sizeof *wide, e);
    for (size_t i = 0; wide && i < lines; i++)
        cpu_kernels(d)->widen(wide + i * length, (const char *)t->data + i * apart * size, t->type,
                              length);
    return wide;
}
