// SPDX-License-Identifier: MIT
// Every forward operation of `struct ops` in double precision and in the plainest loops: what the
// fast kernels are compared with, and what their gradients are differentiated from. No program
// calls it. Arrays are row-major, one row a token; outputs are overwritten and do not overlap the
// inputs unless said so. Nothing is allocated, nothing fails.
#ifndef OPS_REFERENCE_H
#define OPS_REFERENCE_H

#include "ops/ops.h"

// out [n, width] = or, `add`, += factor * table [vocab, width] at token [n]
void reference_embed(double *out, const double *table, size_t width, const uint32_t *token,
                     size_t n, double factor, int add);

// y [n, out] = x [n, in] w^T + bias, or y += with `add`; w [out, in], bias [out] or NULL
// (torch.nn.Linear).
void reference_linear(double *y, const double *x, size_t n, size_t in, const double *w, size_t out,
                      const double *bias, int add);

// y = (x - mean) / sqrt(var + eps) * (offset + weight) + bias, each row alone: LayerNorm (Ba, Kiros
// & Hinton 2016, equation 4) where `centred`, else RMSNorm (Zhang & Sennrich 2019, equation 4),
// with mean 0 and var the mean of the squares. x, y [n, width], weight [width], bias [width] or
// NULL.
void reference_norm(double *y, const double *x, size_t n, size_t width, const double *weight,
                    const double *bias, int centred, double eps, double offset);

// Turns the first `dims` dimensions of each head of x [n, heads, head_dim], in place: the pairs
// (k, k + dims / 2), or (2k, 2k + 1) with `neighbours`, by the angles at row [n] of table
// [][dims / 2][cos, sin] (Su et al. 2021, equation 34).
void reference_rotate(double *x, size_t n, size_t heads, size_t head_dim, size_t dims,
                      int neighbours, const uint32_t *row, const double *table);

// One sequence: q [n, heads, head_dim] are its positions past .. past+n-1, k and v [past + n,
// kv_heads, head_dim] all its keys and values. Of `a` the numbers count: head h reads kv head h /
// (heads / kv_heads); row i sees the keys 0 .. past+i, or the last `window` of them; the key bias,
// the scale and the cap as struct attention says. out [n, heads, head_dim]; lse [n, heads], the
// natural logarithm of the softmax sums, or NULL. (Vaswani et al. 2017, equation 1; Ainslie et al.
// 2023 for the groups; Press, Smith & Lewis 2022 for the bias.) At most REFERENCE_KEYS keys.
enum { REFERENCE_KEYS = 4096 };
void reference_attention(double *out, double *lse, const double *q, const double *k,
                         const double *v, size_t n, size_t past, const struct attention *a);
// Its gradient: from dout [n, heads, head_dim] those of q, k and v, for past = 0.
void reference_attention_backward(double *dq, double *dk, double *dv, const double *dout,
                                  const double *q, const double *k, const double *v, size_t n,
                                  const struct attention *a);
// weight [n]: what the last of n positions gives to each, mean over the heads. n >= 1.
void reference_attention_of_last(double *weight, const double *q, const double *k, size_t n,
                                 const struct attention *a);

// out = act(g) * u, or act(g) where u is NULL, n elements: silu x / (1 + exp(-x)), gelu x (1 +
// erf(x / sqrt 2)) / 2 (Hendrycks & Gimpel 2016), gelu_tanh its approximation by tanh, gelu_quick
// x / (1 + exp(-1.702 x)), relu and its square (So et al. 2021).
void reference_activate(enum activation kind, double *out, const double *g, const double *u,
                        size_t n);

// z = cap tanh(z / cap), n elements.
void reference_softcap(double *z, double softcap, size_t n);
void reference_clamp(double *x, double limit, size_t n);

// For each row of logits [n, vocab]: lse [n], logp [n] = log p(target[i]), entropy [n] in nats.
// Any of the three may be NULL (target too, with logp).
void reference_log_softmax(const double *logits, size_t n, size_t vocab, const uint32_t *target,
                           double *lse, double *logp, double *entropy);

// For each row of the logits p, q [n, vocab]: kl [n] = KL(softmax p || softmax q) in nats, reverse
// [n] the other way (Kullback & Leibler 1951). Either may be NULL.
void reference_divergence(const double *p, const double *q, size_t n, size_t vocab, double *kl,
                          double *reverse);

// The sum of products of n operands that --dtype bf16 means, with strides a and b, in fp32: each is
// rounded to bf16, to nearest even; of neighbours 2k and 2k + 1 the second joins first; sums of 256
// join the whole. Subnormal numbers count as zeros where the processor is told so.
float reference_bf16_sum(const float *a, size_t a_stride, const float *b, size_t b_stride,
                         size_t n);

#endif
