// SPDX-License-Identifier: MIT
// What the files of the CPU backend share.
#ifndef OPS_CPU_CPU_H
#define OPS_CPU_CPU_H

#include "ops/cpu/kernel.h"
#include "ops/ops.h"

static inline const struct kernels *cpu_kernels(const struct device *d)
{
    return d->backend;
}

// Those of the device's products.
static inline const struct arithmetic *cpu_arithmetic(const struct device *d)
{
    const struct kernels *k = d->backend;
    return d->products == PRODUCTS_BF16 ? &k->pairs : &k->plain;
}

// Items of `cost` elements each that make a chunk worth handing to a thread.
static inline size_t cpu_grain(size_t cost)
{
    size_t grain = 32768 / (cost ? cost : 1);
    return grain ? grain : 1;
}

MUST_CHECK int cpu_open(struct device *d, struct err *e);

// The tensor's elements as fp32, transposed as the tensor is: its own, or widened into scratch.
// *pitch (may be NULL) is theirs. NULL: no memory.
const float *cpu_f32(struct device *d, const struct tensor *t, size_t *pitch, struct err *e);
MUST_CHECK int cpu_linear(struct device *d, const float *x, size_t n, const struct linear *out,
                          size_t count, struct err *e);
// What these take of scratch.
size_t cpu_linear_scratch(const struct device *d, const struct scratch_shape *s);
size_t cpu_attention_scratch(size_t longest, size_t head_dim, int backward);
MUST_CHECK int cpu_linear_backward(struct device *d, float *dx, int add, const float *dy,
                                   const float *x, size_t n, const struct tensor *w,
                                   const struct tensor *bias, struct err *e);
MUST_CHECK int cpu_attention_store(struct device *d, const struct attention *a, const float *k,
                                   const float *v, struct err *e);
MUST_CHECK int cpu_attention(struct device *d, const struct attention *a, float *out,
                             const float *q, float *lse, struct err *e);
MUST_CHECK int cpu_attention_of_last(struct device *d, const struct attention *a, float *weight,
                                     const float *q, struct err *e);
MUST_CHECK int cpu_attention_backward(struct device *d, const struct attention *a, float *dq,
                                      float *dk, float *dv, const float *dout, const float *out,
                                      const float *q, const float *lse, struct err *e);
MUST_CHECK int cpu_adamw(struct device *d, const struct update *u, struct err *e);
MUST_CHECK int cpu_rmsprop(struct device *d, const struct update *u, struct err *e);
MUST_CHECK int cpu_sgd(struct device *d, const struct update *u, struct err *e);
MUST_CHECK int cpu_average(struct device *d, float *y, const float *x, double weight, size_t n,
                           struct err *e);
MUST_CHECK int cpu_sum_squares(struct device *d, const float *x, size_t n, double *sum,
                               struct err *e);

#endif
