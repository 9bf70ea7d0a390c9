// SPDX-License-Identifier: MIT
// Inner loops of the CPU backend, compiled once for each instruction set from kernel.inc and chosen
// at start. All add in one fixed order, an element at a time, so that a row's result depends
// neither on the rows beside it nor on threads.
#ifndef OPS_CPU_KERNEL_H
#define OPS_CPU_KERNEL_H

#include <stddef.h>
#include <stdint.h>

enum {
    LANES = 16,    // a panel: 16 vectors side by side, [k][16]
    TILE_MAX = 12, // most rows on the broadcast side
    SLICE = 256,   // products summed in a register before they join the total
};

struct kernels {
    const char *name;
    size_t tile; // rows on the broadcast side that fill the registers; <= TILE_MAX
    // c[n][0..15] (row stride ldc) = or += sum over k of b[n * n_stride + k * k_stride] *
    // a[k * lda + 0..15], n < rows <= tile. The sum runs over k in order, in slices.
    void (*tile_product)(size_t rows, size_t depth, const float *a, size_t lda, const float *b,
                         size_t n_stride, size_t k_stride, float *c, size_t ldc, int add);
    // p[i] = exp(scale * s[i] - shift), i < n; exactly 0 below exp(-87). n % 16 == 0.
    // Returns the sum.
    double (*exp_sum)(float *p, const float *s, size_t n, float scale, float shift);
    float (*max)(const float *s, size_t n); // n >= 1, any n
    // Natural log; any n >= 1. entropy: of the softmax of s, in nats, or NULL.
    double (*log_sum_exp)(const float *s, size_t n, float *max, double *entropy);
    double (*dot)(const float *a, const float *b, size_t n);
    double (*sum_squares)(const float *a, size_t n);
    // out = g * sigmoid(g) * u
    void (*swiglu)(float *out, const float *g, const float *u, size_t n);
    // dg, du from dout; g and u are overwritten where dg == g, du == u is allowed.
    void (*swiglu_backward)(float *dg, float *du, const float *dout, const float *g, const float *u,
                            size_t n);
    // logits[i] = -c * exp(logits[i] - shift): the gradient of c * log-probability, without the
    // one-hot part.
    void (*softmax_gradient)(float *logits, size_t n, float shift, float c);
};

extern const struct kernels kernels_base;
extern const struct kernels kernels_avx2;
extern const struct kernels kernels_avx512;

// The best for this processor, or the one named by the environment variable DENSEPATH_KERNELS
// (base, avx2, avx512) if the processor has it.
const struct kernels *kernels_choose(void);

#endif
