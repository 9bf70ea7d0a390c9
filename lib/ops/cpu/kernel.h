// SPDX-License-Identifier: MIT
// Inner loops of the CPU backend, compiled once for each instruction set from kernel.inc and chosen
// at start. All add in one fixed order, an element at a time, so that a row's result depends
// neither on the rows beside it nor on threads.
#ifndef OPS_CPU_KERNEL_H
#define OPS_CPU_KERNEL_H

#include "ops/ops.h"

enum {
    LANES = 16,       // a panel: 16 vectors side by side, [k][16]
    TILE_MAX = 12,    // most rows on the broadcast side
    BLOCK = 32,       // outputs of a product of few rows: a multiple of two registers
    SLICE = 256,      // products summed in a register before they join the total
    NARROW = 8,       // columns of half a panel
    NARROW_ROWS = 64, // most rows of a block of struct blocked
};

// Rows of `dim` elements, F32 or BF16, in blocks of `rows`, at most NARROW_ROWS; the blocks begin
// every `stride` elements.
struct blocked {
    const void *at;
    enum dtype type;
    const uint32_t *block; // number i of the sum is at[block[i] * stride]; NULL: i itself
    size_t stride, rows, dim;
};

// How products compute, and how their operands lie. Along a sum, `step` neighbours are `words`
// words of 32 bits, which are kept in floats: a number is one word in fp32; of numbers rounded to
// bf16, a pair of neighbours is one word or two (kernel_bf16.inc). Sums run in order, in slices.
struct arithmetic {
    size_t step, words;
    size_t lanes; // of a panel: LANES or 2 * LANES
    // to[words] = from[0 .. n) as words, zeros beside the last where n is no multiple of `step`.
    void (*row)(float *to, const void *from, enum dtype type, size_t n);
    // Panels of `lanes` columns, `apart` floats from one to the next: to[words][lanes] = the words
    // of from[depth][n], rows of zeros beside the last, and zeros beside column n - 1.
    void (*across)(float *to, size_t lanes, size_t apart, const void *from, size_t pitch,
                   enum dtype type, size_t depth, size_t n);
    // As tile_product over words; c has `lanes` columns: LANES or those of a panel. One of n_stride
    // and k_stride is 1.
    void (*product)(size_t rows, size_t lanes, size_t words, const float *a, size_t lda,
                    const float *b, size_t n_stride, size_t k_stride, float *c, size_t ldc,
                    int add);
    // Few rows and BLOCK outputs: c[r * ldc + o] = sum over k < depth of x[k][r] * w[o * pitch +
    // k], r < rows <= few, where x[k][r] is word r of row k of x[words][rows]: the sums of
    // `product`, in the same order. The weights are F32, F16 or BF16 (pairs: BF16), and each is
    // read once. x has NARROW floats beside its end that may be read.
    void (*skinny)(size_t rows, size_t depth, const float *x, const void *w, enum dtype type,
                   size_t pitch, float *c, size_t ldc);
};

struct kernels {
    const char *name;
    size_t tile; // rows on the broadcast side that fill the registers; <= TILE_MAX
    size_t few;  // most rows of `skinny`, in fp32 from half precision the tile's; <= TILE_MAX
    // c[n][0..15] (row stride ldc) = or += sum over k of b[n * n_stride + k * k_stride] *
    // a[k * lda + 0..15], n < rows <= tile. The sum runs over k in order, in slices.
    void (*tile_product)(size_t rows, size_t depth, const float *a, size_t lda, const float *b,
                         size_t n_stride, size_t k_stride, float *c, size_t ldc, int add);
    // The same sum where a, of F32 or BF16, lies in blocks of KV_BLOCK (16) rows: row k is at
    // a[block[k / 16] * block_stride + k % 16 * lda]; 16 * first <= k < 16 * end, k_stride 1, not
    // added to c. Slices end where they would with first = 0: leading products that are 0 change no
    // bit.
    void (*tile_blocks)(size_t rows, size_t first, size_t end, const void *a, enum dtype type,
                        const uint32_t *block, size_t block_stride, size_t lda, const float *b,
                        size_t n_stride, float *c, size_t ldc);
    // Scores of blocks of keys: c[n * ldc + 16 * b + 0..15] = sum over k < depth of q[n * n_stride
    // + k] * a[block[b] * block_stride + k * 16 + 0..15], first <= b < end, as tile_product.
    void (*score_blocks)(size_t rows, size_t depth, size_t first, size_t end, const void *a,
                         enum dtype type, const uint32_t *block, size_t block_stride,
                         const float *q, size_t n_stride, float *c, size_t ldc);
    // Columns `column` .. of a, at most NARROW: c[n * dim + column + 0..7] = or += sum over k <
    // depth of b[n * n_stride + k * k_stride] * row k of a, n < rows <= tile; n_stride or k_stride
    // is 1. The products of a block are summed before they join the total.
    void (*narrow)(size_t rows, size_t depth, const struct blocked *a, size_t column,
                   const float *b, size_t n_stride, size_t k_stride, float *c, int add);
    struct arithmetic plain; // fp32
    // Rounded to bf16, to nearest even; subnormal numbers count as zeros.
    struct arithmetic pairs;
    // to[c * to_stride + r] = from[r * from_stride + c]
    void (*transpose)(float *to, size_t to_stride, const float *from, size_t from_stride,
                      size_t rows, size_t columns);
    // As dtype_to_f32; `to` and `from` do not overlap.
    void (*widen)(float *to, const void *from, enum dtype type, size_t n);
    // p[i] = exp(scale * s[i] - shift), i < n; exactly 0 below exp(-87). n % 16 == 0.
    // Returns the sum.
    double (*exp_sum)(float *p, const float *s, size_t n, float scale, float shift);
    float (*max)(const float *s, size_t n); // n >= 1, any n
    // Natural log; any n >= 1. entropy: of the softmax of s, in nats, or NULL.
    double (*log_sum_exp)(const float *s, size_t n, float *max, double *entropy);
    double (*dot)(const float *a, const float *b, size_t n);
    double (*sum_squares)(const float *a, size_t n);
    double (*sum)(const float *a, size_t n);
    double (*squares_about)(const float *a, float mean, size_t n); // sum of (a - mean)^2
    // out = act(g) * u, or act(g) where u is NULL; out may be g or u.
    void (*activate)(enum activation kind, float *out, const float *g, const float *u, size_t n);
    // g and u (where not NULL) become their gradients.
    void (*activate_backward)(enum activation kind, float *g, float *u, const float *dout,
                              size_t n);
    // y = keep * y + factor * x; keep 0 reads no y.
    void (*axpby)(float *y, float keep, const float *x, float factor, size_t n);
    // z = cap tanh(z * scale / cap)
    void (*softcap)(float *z, float scale, float softcap, size_t n);
    // dz *= 1 - (z / cap)^2
    void (*softcap_backward)(float *dz, const float *z, float softcap, size_t n);
    // logits[i] = -c * exp(logits[i] - shift): the gradient of c * log-probability, without the
    // one-hot part.
    void (*softmax_gradient)(float *logits, size_t n, float shift, float c);
    // sum[0] = KL(softmax s || softmax t) in nats, sum[1] the other way; any n >= 1.
    void (*divergence)(const float *s, const float *t, size_t n, float s_lse, float t_lse,
                       double sum[2]);
    // to += forward * the gradient of sum[0] (whose value is kl) in s + reverse * that of sum[1].
    void (*divergence_gradient)(float *to, const float *s, const float *t, size_t n, float s_lse,
                                float t_lse, float kl, float forward, float reverse);
    size_t (*find)(const float *s, size_t n, float value); // first i with s[i] == value, or n
    void (*scale)(float *x, float factor, size_t n);
    // ds[i] = p[i] * (ds[i] - delta) * scale
    void (*score_gradient)(float *ds, const float *p, float delta, float scale, size_t n);
    void (*add)(float *to, const float *from, size_t n);
    // y = (x - mean) * s * weight + bias (NULL: none); y may be x.
    void (*norm)(float *y, const float *x, const float *weight, const float *bias, float mean,
                 float s, size_t n);
    // dx += the gradient of norm, whose mean and s depend on x; `centred`: mean too.
    void (*norm_backward)(float *dx, const float *dy, const float *x, const float *weight,
                          int centred, float mean, float s, size_t n);
    // to[k] += sum over i of dy[i * stride + k] * (x[i * stride + k] - stat[2 * i]) *
    // stat[2 * i + 1], k < columns, i < n in order; without `centred` the mean stat[2 * i] is 0.
    void (*norm_weight)(float *to, const float *dy, const float *x, int centred, const float *stat,
                        size_t n, size_t stride, size_t columns);
    void (*column_sums)(float *to, const float *a, size_t n, size_t stride, size_t columns);
    // One row of `heads` heads: the first `dims` of each turn in pairs (k, k + dims / 2), or
    // neighbours (2k, 2k + 1); angle[k] = cos, sin of pair k; sign -1 turns back.
    void (*rotate)(float *x, size_t heads, size_t head_dim, size_t dims, int neighbours,
                   const float *angle, float sign);
};

// Words of `depth` neighbours.
static inline size_t words_of(const struct arithmetic *o, size_t depth)
{
    return (depth + o->step - 1) / o->step * o->words;
}

// Whether rows of this type are words as they lie.
static inline int words_as_they_lie(const struct arithmetic *o, enum dtype type)
{
    return o->step == 1 ? type == DTYPE_F32 : o->words == 1 && type == DTYPE_BF16;
}

extern const struct kernels kernels_base;
extern const struct kernels kernels_avx2;
extern const struct kernels kernels_avx512;
extern const struct kernels kernels_avx512bf16;

// The best for this processor, or those that the environment variable DENSEPATH_KERNELS names
// (base, avx2, avx512, avx512bf16). NULL: there are none of that name, or the processor does not
// have them.
const struct kernels *kernels_choose(struct err *e);

#endif
