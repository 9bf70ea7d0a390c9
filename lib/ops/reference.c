// SPDX-License-Identifier: MIT
#include "ops/reference.h"

#include <assert.h>
#include <math.h>

void reference_embed(double *out, const double *table, size_t width, const uint32_t *token,
                     size_t n, double factor, int add)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < width; k++)
            out[i * width + k] =
                (add ? out[i * width + k] : 0) + factor * table[token[i] * width + k];
}

void reference_linear(double *y, const double *x, size_t n, size_t in, const double *w, size_t out,
                      const double *bias, int add)
{
    for (size_t i = 0; i < n; i++)
        for (size_t o = 0; o < out; o++) {
            double sum = bias ? bias[o] : 0;
            for (size_t k = 0; k < in; k++)
                sum += x[i * in + k] * w[o * in + k];
            y[i * out + o] = add ? y[i * out + o] + sum : sum;
        }
}

void reference_norm(double *y, const double *x, size_t n, size_t width, const double *weight,
                    const double *bias, int centred, double eps, double offset)
{
    for (size_t i = 0; i < n; i++) {
        const double *row = x + i * width;
        double mean = 0, var = 0;
        for (size_t k = 0; centred && k < width; k++)
            mean += row[k] / (double)width;
        for (size_t k = 0; k < width; k++)
            var += (row[k] - mean) * (row[k] - mean) / (double)width;
        for (size_t k = 0; k < width; k++)
            y[i * width + k] =
                (row[k] - mean) / sqrt(var + eps) * (offset + weight[k]) + (bias ? bias[k] : 0);
    }
}

void reference_rotate(double *x, size_t n, size_t heads, size_t head_dim, size_t dims,
                      int neighbours, const uint32_t *row, const double *table)
{
    size_t half = dims / 2;
    for (size_t i = 0; i < n; i++)
        for (size_t h = 0; h < heads; h++)
            for (size_t k = 0; k < half; k++) {
                const double *angle = table + (row[i] * half + k) * 2;
                double *head = x + (i * heads + h) * head_dim;
                double *first = head + (neighbours ? 2 * k : k);
                double *second = head + (neighbours ? 2 * k + 1 : k + half);
                double a = *first, b = *second;
                *first = a * angle[0] - b * angle[1];
                *second = b * angle[0] + a * angle[1];
            }
}

// Of head h, whose query is q, with the key at position j.
static double score(const double *q, const double *k, size_t h, size_t j, const struct attention *a)
{
    double sum = a->key_bias ? (double)a->key_bias[h * a->key_bias_pitch + j] : 0;
    const double *key = k + (j * a->kv_heads + h / (a->heads / a->kv_heads)) * a->head_dim;
    for (size_t c = 0; c < a->head_dim; c++)
        sum += q[c] * key[c];
    sum *= (double)a->scale;
    return a->softcap != 0 ? (double)a->softcap * tanh(sum / (double)a->softcap) : sum;
}

// p [visible]: the weights of head h of position `visible` - 1. Returns the log of the sum.
static double weigh(double *p, const double *q, const double *k, size_t h, size_t visible,
                    const struct attention *a)
{
    size_t first = a->window && visible > a->window ? visible - a->window : 0;
    double top = -INFINITY, sum = 0;
    for (size_t j = 0; j < visible; j++) {
        p[j] = j < first ? -INFINITY : score(q, k, h, j, a);
        top = fmax(top, p[j]);
    }
    for (size_t j = 0; j < visible; j++)
        sum += exp(p[j] - top);
    for (size_t j = 0; j < visible; j++)
        p[j] = exp(p[j] - top) / sum;
    return top + log(sum);
}

void reference_attention(double *out, double *lse, const double *q, const double *k,
                         const double *v, size_t n, size_t past, const struct attention *a)
{
    assert(past + n <= REFERENCE_KEYS);
    double p[REFERENCE_KEYS];
    size_t group = a->heads / a->kv_heads, dim = a->head_dim;
    for (size_t i = 0; i < n; i++)
        for (size_t h = 0; h < a->heads; h++) {
            size_t row = i * a->heads + h;
            double l = weigh(p, q + row * dim, k, h, past + i + 1, a);
            if (lse)
                lse[row] = l;
            for (size_t c = 0; c < dim; c++) {
                double sum = 0;
                for (size_t j = 0; j <= past + i; j++)
                    sum += p[j] * v[(j * a->kv_heads + h / group) * dim + c];
                out[row * dim + c] = sum;
            }
        }
}

// Of one head of one position: dq is its own, dk and dv are those of position 0.
static void slopes(double *dq, double *dk, double *dv, const double *dout, const double *q,
                   const double *k, const double *v, size_t h, size_t visible,
                   const struct attention *a)
{
    double p[REFERENCE_KEYS], dp[REFERENCE_KEYS], mean = 0;
    size_t width = a->kv_heads * a->head_dim, head = h / (a->heads / a->kv_heads) * a->head_dim;
    weigh(p, q, k, h, visible, a);
    for (size_t j = 0; j < visible; j++) {
        dp[j] = 0;
        for (size_t c = 0; c < a->head_dim; c++)
            dp[j] += dout[c] * v[j * width + head + c];
        mean += p[j] * dp[j];
    }
    for (size_t j = 0; j < visible; j++) {
        double t = a->softcap != 0 ? score(q, k, h, j, a) / (double)a->softcap : 0;
        double ds = p[j] * (dp[j] - mean) * (1 - t * t) * (double)a->scale;
        for (size_t c = 0; c < a->head_dim; c++) {
            dq[c] += ds * k[j * width + head + c];
            dk[j * width + head + c] += ds * q[c];
            dv[j * width + head + c] += p[j] * dout[c];
        }
    }
}

void reference_attention_backward(double *dq, double *dk, double *dv, const double *dout,
                                  const double *q, const double *k, const double *v, size_t n,
                                  const struct attention *a)
{
    assert(n <= REFERENCE_KEYS);
    for (size_t i = 0; i < n * a->heads * a->head_dim; i++)
        dq[i] = 0;
    for (size_t i = 0; i < n * a->kv_heads * a->head_dim; i++)
        dk[i] = dv[i] = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t h = 0; h < a->heads; h++) {
            size_t row = (i * a->heads + h) * a->head_dim;
            slopes(dq + row, dk, dv, dout + row, q + row, k, v, h, i + 1, a);
        }
}

void reference_attention_of_last(double *weight, const double *q, const double *k, size_t n,
                                 const struct attention *a)
{
    assert(n >= 1 && n <= REFERENCE_KEYS);
    double p[REFERENCE_KEYS];
    for (size_t j = 0; j < n; j++)
        weight[j] = 0;
    for (size_t h = 0; h < a->heads; h++) {
        weigh(p, q + ((n - 1) * a->heads + h) * a->head_dim, k, h, n, a);
        for (size_t j = 0; j < n; j++)
            weight[j] += p[j] / (double)a->heads;
    }
}

static double activation(enum activation kind, double x)
{
    switch (kind) {
    case ACTIVATION_GELU:
        return 0.5 * x * erfc(-x / sqrt(2));
    case ACTIVATION_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case ACTIVATION_GELU_QUICK:
        return x / (1 + exp(-1.702 * x));
    case ACTIVATION_RELU:
        return x > 0 ? x : 0;
    case ACTIVATION_RELU_SQUARED:
        return x > 0 ? x * x : 0;
    default:
        return x / (1 + exp(-x));
    }
}

void reference_activate(enum activation kind, double *out, const double *g, const double *u,
                        size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = activation(kind, g[i]) * (u ? u[i] : 1);
}

void reference_softcap(double *z, double softcap, size_t n)
{
    for (size_t i = 0; i < n; i++)
        z[i] = softcap * tanh(z[i] / softcap);
}

void reference_clamp(double *x, double limit, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = fmin(fmax(x[i], -limit), limit);
}

void reference_log_softmax(const double *logits, size_t n, size_t vocab, const uint32_t *target,
                           double *lse, double *logp, double *entropy)
{
    for (size_t i = 0; i < n; i++) {
        const double *z = logits + i * vocab;
        double top = -INFINITY, sum = 0, expected = 0;
        for (size_t j = 0; j < vocab; j++)
            top = fmax(top, z[j]);
        for (size_t j = 0; j < vocab; j++)
            sum += exp(z[j] - top);
        double l = top + log(sum);
        for (size_t j = 0; j < vocab; j++)
            if (z[j] != -INFINITY) // p log p is 0 where p is
                expected += exp(z[j] - l) * (z[j] - l);
        if (lse)
            lse[i] = l;
        if (logp)
            logp[i] = z[target[i]] - l;
        if (entropy)
            entropy[i] = -expected;
    }
}

// The sum over j of p_j (log p_j - log q_j), 0 where p_j is.
static double divergence(const double *p, const double *q, size_t vocab, double p_lse, double q_lse)
{
    double sum = 0;
    for (size_t j = 0; j < vocab; j++)
        if (p[j] != -INFINITY)
            sum += exp(p[j] - p_lse) * (p[j] - p_lse - (q[j] - q_lse));
    return sum;
}

void reference_divergence(const double *p, const double *q, size_t n, size_t vocab, double *kl,
                          double *reverse)
{
    for (size_t i = 0; i < n; i++) {
        const double *a = p + i * vocab, *b = q + i * vocab;
        double a_lse, b_lse;
        reference_log_softmax(a, 1, vocab, NULL, &a_lse, NULL, NULL);
        reference_log_softmax(b, 1, vocab, NULL, &b_lse, NULL, NULL);
        if (kl)
            kl[i] = divergence(a, b, vocab, a_lse, b_lse);
        if (reverse)
            reverse[i] = divergence(b, a, vocab, b_lse, a_lse);
    }
}

static float rounded_bf16(float x)
{
    uint16_t half;
    float out;
    dtype_from_f32(&half, &x, DTYPE_BF16, 1);
    dtype_to_f32(&out, &half, DTYPE_BF16, 1);
    return fpclassify(x) == FP_SUBNORMAL ? 0 * x : out;
}

float reference_bf16_sum(const float *a, size_t a_stride, const float *b, size_t b_stride, size_t n)
{
    float total = 0;
    for (size_t begin = 0; begin < n; begin += 256) {
        float sum = 0;
        for (size_t k = begin; k < n && k < begin + 256; k += 2)
            for (size_t i = k + 1 < n ? k + 2 : k + 1; i-- > k;)
                sum = fmaf(rounded_bf16(a[i * a_stride]), rounded_bf16(b[i * b_stride]), sum);
        total = begin > 0 ? total + sum : sum;
    }
    return total;
}
