// SPDX-License-Identifier: MIT
// Operations on tensors. A backend is a table of these calls; `model` walks its plan through the
// table and knows nothing of the machine below. Activations and gradients are fp32, row-major
// [n, width], one row a token; weights have the type of their file. Every operation gives the same
// bits for any number of threads, and in the forward direction a row's result does not depend on
// the rows beside it: one token alone, in a packed batch or through the KV cache gives the same
// bits. Arrays, lists and tensors are in the device's memory (device.h) unless it is said that the
// host's are meant; structures of parameters are the caller's, and read during the call only.
// Return 0, or -1 with *e filled (memory only).
#ifndef OPS_OPS_H
#define OPS_OPS_H

#include "ops/device.h"
#include "ops/tensor.h"

// What the work space of a pass depends on.
struct scratch_shape {
    size_t rows, longest; // tokens of the batch, and of its longest sequence with all before it
    size_t depth;         // the widest input of a product
    size_t head_dim;
    int turned, widened; // weights of products are [in, out]; are not fp32
    int backward;
};

// y = x w^T + bias, or y += with `add`.
struct linear {
    float *y;           // [n, w.rows]
    struct tensor w;    // [out, in]
    struct tensor bias; // [out] or data == NULL
    int add;
};

// Keys and values live in blocks of 16 positions, so that sequences may share the blocks of a
// common prefix and free them one by one. Block b of kv head h: keys k[(b * kv_heads + h) *
// head_dim * 16] as [head_dim][16], values v[the same] as [16][head_dim]. Their elements are fp32,
// or bf16: then attention_store rounds to nearest even, and what is computed from them is what it
// would be from the rounded numbers in fp32.
enum { KV_BLOCK = 16 };
struct attention {
    size_t heads, kv_heads, head_dim;
    float scale;
    size_t window; // position i sees j with i - j < window; 0: all before it
    float softcap; // scores become cap tanh(score / cap), after the scale and before the mask; 0:
                   // none
    // Added to the raw score of head h with the key at position j, before the scale:
    // key_bias[h * key_bias_pitch + j] (ALiBi). NULL: none.
    const float *key_bias;
    size_t key_bias_pitch;
    enum dtype type; // of k and v: F32 or BF16
    void *k, *v;
    // Sequences of the batch: rows start .. start+length-1 are positions past .. past+length-1;
    // position p lives in block[p / 16].
    const struct segment {
        size_t start, length, past;
        const uint32_t *block;
        // Tokens that the whole sequence has, for rotary angles that depend on it; 0: past +
        // length.
        size_t reach;
    } * segment;
    const struct segment *plan; // the same in the host's memory, but for the blocks: not to be read
    size_t n_segments;
};

// What a norm is: y = (x - mean) * s * (offset + weight) + bias, s = 1 / sqrt(var + eps); without
// `centred` (RMSNorm) mean is 0 and var the mean of the squares.
struct norm {
    int centred;
    float eps, offset;          // offset: 1 in Gemma, else 0
    struct tensor weight, bias; // [width = weight.cols]; absent: all 1 (without offset), all 0
};
// The first `dims` dimensions of each head turn, in pairs (k, k + dims / 2), or (2k, 2k + 1) with
// `neighbours`, by the angles at table[row[i]]: [dims / 2][cos, sin].
struct rotary {
    const float *table;
    const uint32_t *row; // [n]
    size_t dims;
    int neighbours;
};
enum activation {
    ACTIVATION_SILU,
    ACTIVATION_GELU,      // erf
    ACTIVATION_GELU_TANH, // gelu_new, gelu_pytorch_tanh
    ACTIVATION_GELU_QUICK,
    ACTIVATION_RELU,
    ACTIVATION_RELU_SQUARED,
    ACTIVATIONS
};
// A fused projection whose rows go group by group: the query heads of the group, its key head, its
// value head.
struct grouping {
    size_t groups, queries, head_dim; // queries: query heads of a group
};

enum { LINEAR_MAX = 8 }; // products of one call

// Rows of two distributions over the same vocabulary.
struct divergence {
    const float *p, *p_lse, *q, *q_lse; // logits [n, vocab], lse [n]
    size_t n, vocab;
};

// One update of n weights. With g = scale * grad:
//   AdamW    m <- keep1 m + new1 g,  v <- keep2 v + new2 g^2,
//            p <- p - (decay p + rate m / (sqrt(v root) + epsilon))
//   RMSprop  v <- keep2 v + new2 g^2,  p <- p - (decay p + rate g / (sqrt(v) + epsilon))
//   SGD      p <- p - (decay p + rate g)
struct update {
    float *param, *m, *v; // [n]; m: AdamW's, v: not SGD's
    const float *grad;
    size_t n;
    float scale, rate, decay, keep1, new1, keep2, new2, root, epsilon;
};

struct ops {
    // The class of the loops that compute, for provenance: between classes last bits differ. Stays
    // until the next call.
    const char *(*kernels)(const struct device *d);
    // Most bytes of work space that the operations of a pass take at a time, beside what they are
    // given.
    size_t (*scratch_bytes)(const struct device *d, const struct scratch_shape *s);
    const char *name;
    // out[i] = or, `add`, += factor * table[token[i]]; tokens are in range, the table is not
    // transposed.
    int (*embed)(struct device *d, float *out, const struct tensor *table, const uint32_t *token,
                 size_t n, float factor, int add, struct err *e);
    // table.grad[token[i]] += factor * dout[i]
    int (*embed_backward)(struct device *d, const struct tensor *table, const float *dout,
                          const uint32_t *token, size_t n, float factor, struct err *e);
    // 1 .. LINEAR_MAX products with the same x [n, in].
    int (*linear)(struct device *d, const float *x, size_t n, const struct linear *out,
                  size_t count, struct err *e);
    // dx (+)= dy w (skipped where dx is NULL), w.grad += dy^T x, bias.grad += column sums.
    int (*linear_backward)(struct device *d, float *dx, int add, const float *dy, const float *x,
                           size_t n, const struct tensor *w, const struct tensor *bias,
                           struct err *e);
    // Rows of x and y begin every `pitch` floats (>= width = weight.cols); y may be x. stat [n][2]:
    // mean and s, or NULL.
    int (*norm)(struct device *d, float *y, float *stat, const float *x, size_t n, size_t pitch,
                const struct norm *p, struct err *e);
    // dx += ..., weight.grad += ..., bias.grad += ...; x as it was before the norm.
    int (*norm_backward)(struct device *d, float *dx, const float *dy, const float *x,
                         const float *stat, size_t n, size_t pitch, const struct norm *p,
                         struct err *e);
    // In place; backward != 0 turns the other way (the transpose).
    int (*rotate)(struct device *d, float *x, size_t n, size_t heads, size_t head_dim,
                  const struct rotary *r, int backward, struct err *e);
    // Puts the rows k, v [n, kv_heads * head_dim] into their blocks.
    int (*attention_store)(struct device *d, const struct attention *a, const float *k,
                           const float *v, struct err *e);
    // out, q: [n, heads * head_dim]; causal. lse [n, heads]: log of the softmax sums, or NULL.
    int (*attention)(struct device *d, const struct attention *a, float *out, const float *q,
                     float *lse, struct err *e);
    // weight[start + t]: what the last row of each segment gives to position t, mean over the
    // heads; q as for attention. Segments with past = 0 and blocks of fp32 only.
    int (*attention_of_last)(struct device *d, const struct attention *a, float *weight,
                             const float *q, struct err *e);
    // From dout: dq [n, heads * head_dim], dk, dv [n, kv_heads * head_dim], all overwritten.
    // Segments with past = 0 and blocks of fp32 only.
    int (*attention_backward)(struct device *d, const struct attention *a, float *dq, float *dk,
                              float *dv, const float *dout, const float *out, const float *q,
                              const float *lse, struct err *e);
    // out = act(g) * u, or act(g) where u is NULL; n elements. out may be g.
    int (*activate)(struct device *d, enum activation kind, float *out, const float *g,
                    const float *u, size_t n, struct err *e);
    // g (and u) become their gradients.
    int (*activate_backward)(struct device *d, enum activation kind, float *g, float *u,
                             const float *dout, size_t n, struct err *e);
    // fused [n, groups * (queries + 2) * head_dim] to q [n, groups * queries * head_dim] and k, v
    // [n, groups * head_dim], and back.
    int (*ungroup)(struct device *d, const struct grouping *g, float *q, float *k, float *v,
                   const float *fused, size_t n, struct err *e);
    int (*group)(struct device *d, const struct grouping *g, float *fused, const float *q,
                 const float *k, const float *v, size_t n, struct err *e);
    // y = keep * y + factor * x, n elements (keep 0 reads no y).
    int (*axpby)(struct device *d, float *y, float keep, const float *x, float factor, size_t n,
                 struct err *e);
    // z = cap tanh(z / cap), and from the capped z: dz *= 1 - (z / cap)^2.
    int (*softcap)(struct device *d, float *z, float softcap, size_t n, struct err *e);
    int (*softcap_backward)(struct device *d, float *dz, const float *z, float softcap, size_t n,
                            struct err *e);
    // z = plain + weight (plain - z), n elements.
    int (*contrast)(struct device *d, float *z, const float *plain, float weight, size_t n,
                    struct err *e);
    // Rows of `width`: out[i] = x[row[i]], and out[row[i]] = x[i], where no row comes twice.
    int (*gather_rows)(struct device *d, float *out, const float *x, const uint32_t *row, size_t n,
                       size_t width, struct err *e);
    int (*scatter_rows)(struct device *d, float *out, const float *x, const uint32_t *row, size_t n,
                        size_t width, struct err *e);
    // x = what of -limit .. limit is nearest, and from the clamped x: dx = 0 where it is at a
    // limit.
    int (*clamp)(struct device *d, float *x, float limit, size_t n, struct err *e);
    int (*clamp_backward)(struct device *d, float *dx, const float *x, float limit, size_t n,
                          struct err *e);
    // For each row of logits [n, vocab]: lse, and where asked (not NULL) the log-probability of
    // target[i], the entropy and the index of the largest.
    int (*log_softmax)(struct device *d, const float *logits, size_t n, size_t vocab,
                       const uint32_t *target, float *lse, float *logp, float *entropy,
                       uint32_t *best, struct err *e);
    // logp[i] = the log-probability of target[i] in row[i] of logits, with the bits of log_softmax.
    int (*log_softmax_at)(struct device *d, const float *logits, size_t vocab, const uint32_t *row,
                          const uint32_t *target, size_t n, float *logp, struct err *e);
    // out[i] = logits[i][target[i]]
    int (*pick)(struct device *d, float *out, const float *logits, size_t n, size_t vocab,
                const uint32_t *target, struct err *e);
    // Of each row the k largest: id [n, k] and logp [n, k] = logit - lse, falling; of equal ones
    // the smaller id first.
    int (*top_k)(struct device *d, uint32_t *id, float *logp, const float *logits, const float *lse,
                 size_t n, size_t vocab, size_t k, struct err *e);
    // out = exp(logits - the row's largest): probabilities but for their sum.
    int (*softmax)(struct device *d, float *out, const float *logits, size_t n, size_t vocab,
                   struct err *e);
    // logits become the gradient of sum_i c[i] log p(target[i]): c (onehot - softmax).
    int (*log_softmax_backward)(struct device *d, float *logits, size_t n, size_t vocab,
                                const uint32_t *target, const float *lse, const float *c,
                                struct err *e);
    // Two distributions at the same rows, as logits [n, vocab] with their lse [n]: kl[i] = KL(p ||
    // q), reverse[i] = KL(q || p) in nats, over the whole vocabulary. Either may be NULL.
    int (*divergence)(struct device *d, const struct divergence *v, float *kl, float *reverse,
                      struct err *e);
    // gradient[n, vocab] += forward * d kl / d p's logits + reverse * d reverse / d p's logits;
    // kl as it was computed.
    int (*divergence_backward)(struct device *d, const struct divergence *v, const float *kl,
                               float forward, float reverse, float *gradient, struct err *e);
    // A weight's new value depends on its own old value, gradient and moments alone.
    int (*adamw)(struct device *d, const struct update *u, struct err *e);
    int (*rmsprop)(struct device *d, const struct update *u, struct err *e);
    int (*sgd)(struct device *d, const struct update *u, struct err *e);
    // y += weight (x - y), n elements.
    int (*average)(struct device *d, float *y, const float *x, double weight, size_t n,
                   struct err *e);
    // *sum, the host's: of the squares of x [n], in double. NaN and infinity come through.
    int (*sum_squares)(struct device *d, const float *x, size_t n, double *sum, struct err *e);
};

extern const struct ops ops_cpu;

#endif
