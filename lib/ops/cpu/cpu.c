// SPDX-License-Identifier: MIT
// The CPU backend: its table, and the operations that need no file of their own.
#include "ops/cpu/cpu.h"
#include "base/thread.h"

#include <math.h>
#include <string.h>

void openblas_set_num_threads(int n);

struct rows {
    const struct kernels *kernels;
    float *y, *rstd;
    const float *x, *dy, *weight;
    float *grad;
    size_t n, width;
    float eps;
    const struct tensor *table;
    const uint32_t *token;
};

static void embed_rows(void *arg, size_t begin, size_t end, int worker)
{
    const struct rows *r = arg;
    size_t bytes = r->width * dtype_size(r->table->type);
    for (size_t i = begin; i < end; i++)
        dtype_to_f32(r->y + i * r->width, (const char *)r->table->data + r->token[i] * bytes,
                     r->table->type, r->width);
}

static int cpu_embed(struct device *d, float *out, const struct tensor *table,
                     const uint32_t *token, size_t n, struct err *e)
{
    struct rows r = {.y = out, .width = table->cols, .table = table, .token = token};
    threads_for(n, cpu_grain(table->cols), embed_rows, &r);
    return 0;
}

// A thread has a range of columns, so that tokens that come twice need no lock.
static void embed_gradient(void *arg, size_t begin, size_t end, int worker)
{
    const struct rows *r = arg;
    for (size_t i = 0; i < r->n; i++) {
        float *to = r->grad + r->token[i] * r->width;
        const float *from = r->dy + i * r->width;
        for (size_t k = begin; k < end; k++)
            to[k] += from[k];
    }
}

static int cpu_embed_backward(struct device *d, const struct tensor *table, const float *dout,
                              const uint32_t *token, size_t n, struct err *e)
{
    struct rows r = {.grad = table->grad, .width = table->cols, .token = token, .n = n, .dy = dout};
    if (r.grad)
        threads_for(r.width, n * r.width < 65536 ? r.width : 64, embed_gradient, &r);
    return 0;
}

static void norm_rows(void *arg, size_t begin, size_t end, int worker)
{
    const struct rows *r = arg;
    for (size_t i = begin; i < end; i++) {
        const float *x = r->x + i * r->width;
        float *y = r->y + i * r->width;
        double mean = r->kernels->sum_squares(x, r->width) / (double)r->width;
        float scale = (float)(1 / sqrt(mean + (double)r->eps));
        if (r->rstd)
            r->rstd[i] = scale;
        for (size_t k = 0; k < r->width; k++)
            y[k] = x[k] * scale * r->weight[k];
    }
}

const float *cpu_f32(struct device *d, const struct tensor *t, struct err *e)
{
    if (t->type == DTYPE_F32)
        return t->data;
    float *wide = arena_alloc(&d->scratch, t->rows * t->cols, sizeof *wide, e);
    if (wide)
        dtype_to_f32(wide, t->data, t->type, t->rows * t->cols);
    return wide;
}

static int cpu_rmsnorm(struct device *d, float *y, float *rstd, const float *x, size_t n,
                       const struct tensor *weight, float eps, struct err *e)
{
    struct arena_mark mark = arena_mark(&d->scratch);
    struct rows r = {.kernels = cpu_kernels(d), .y = y, .rstd = rstd, .x = x, .eps = eps};
    r.width = weight->cols;
    r.weight = cpu_f32(d, weight, e);
    if (!r.weight)
        return -1;
    threads_for(n, cpu_grain(r.width), norm_rows, &r);
    arena_rewind(&d->scratch, mark);
    return 0;
}

// y = x s w, s = (mean x^2 + eps)^-1/2: dx = s (w dy) - x s^3 / width * sum(w dy x).
static void norm_backward_rows(void *arg, size_t begin, size_t end, int worker)
{
    const struct rows *r = arg;
    for (size_t i = begin; i < end; i++) {
        const float *x = r->x + i * r->width, *dy = r->dy + i * r->width;
        float *dx = r->y + i * r->width;
        float s = r->rstd[i], lane[LANES] = {0};
        size_t k = 0;
        for (; k + LANES <= r->width; k += LANES)
            for (int l = 0; l < LANES; l++)
                lane[l] += r->weight[k + l] * dy[k + l] * x[k + l];
        for (; k < r->width; k++)
            lane[0] += r->weight[k] * dy[k] * x[k];
        double sum = 0;
        for (int l = 0; l < LANES; l++)
            sum += lane[l];
        float back = (float)(sum * s * s * s / (double)r->width);
        for (k = 0; k < r->width; k++)
            dx[k] += s * r->weight[k] * dy[k] - x[k] * back;
    }
}

static void norm_weight_columns(void *arg, size_t begin, size_t end, int worker)
{
    const struct rows *r = arg;
    for (size_t i = 0; i < r->n; i++)
        for (size_t k = begin; k < end; k++)
            r->grad[k] += r->dy[i * r->width + k] * r->x[i * r->width + k] * r->rstd[i];
}

static int cpu_rmsnorm_backward(struct device *d, float *dx, const float *dy, const float *x,
                                const float *rstd, size_t n, const struct tensor *weight,
                                struct err *e)
{
    struct arena_mark mark = arena_mark(&d->scratch);
    struct rows r = {.y = dx, .dy = dy, .x = x, .n = n, .width = weight->cols};
    r.rstd = (float *)rstd;
    r.weight = cpu_f32(d, weight, e);
    if (!r.weight)
        return -1;
    threads_for(n, cpu_grain(r.width), norm_backward_rows, &r);
    r.grad = weight->grad;
    if (r.grad)
        threads_for(r.width, n * r.width < 65536 ? r.width : 64, norm_weight_columns, &r);
    arena_rewind(&d->scratch, mark);
    return 0;
}

struct rope_job {
    float *x;
    size_t heads, dim;
    const uint32_t *position;
    const float *table;
    float sign;
};

static void rope_rows(void *arg, size_t begin, size_t end, int worker)
{
    const struct rope_job *r = arg;
    size_t half = r->dim / 2;
    for (size_t i = begin; i < end; i++) {
        const float *angle = r->table + (size_t)r->position[i] * half * 2;
        for (size_t h = 0; h < r->heads; h++) {
            float *x = r->x + (i * r->heads + h) * r->dim;
            for (size_t k = 0; k < half; k++) {
                float c = angle[2 * k], s = r->sign * angle[2 * k + 1];
                float a = x[k], b = x[k + half];
                x[k] = a * c - b * s;
                x[k + half] = b * c + a * s;
            }
        }
    }
}

static int cpu_rope(struct device *d, float *x, size_t n, size_t heads, size_t head_dim,
                    const uint32_t *position, const float *table, int backward, struct err *e)
{
    struct rope_job job = {x, heads, head_dim, position, table, backward ? -1.0f : 1.0f};
    threads_for(n, cpu_grain(heads * head_dim), rope_rows, &job);
    return 0;
}

struct elements {
    const struct kernels *kernels;
    float *out, *g, *u;
    const float *dout;
};

static void swiglu_chunk(void *arg, size_t begin, size_t end, int worker)
{
    const struct elements *j = arg;
    j->kernels->swiglu(j->out + begin, j->g + begin, j->u + begin, end - begin);
}

static int cpu_swiglu(struct device *d, float *out, const float *g, const float *u, size_t n,
                      struct err *e)
{
    struct elements job = {cpu_kernels(d), out, (float *)g, (float *)u, NULL};
    threads_for(n, 16384, swiglu_chunk, &job);
    return 0;
}

static void swiglu_backward_chunk(void *arg, size_t begin, size_t end, int worker)
{
    const struct elements *j = arg;
    j->kernels->swiglu_backward(j->g + begin, j->u + begin, j->dout + begin, j->g + begin,
                                j->u + begin, end - begin);
}

static int cpu_swiglu_backward(struct device *d, float *g, float *u, const float *dout, size_t n,
                               struct err *e)
{
    struct elements job = {cpu_kernels(d), NULL, g, u, dout};
    threads_for(n, 16384, swiglu_backward_chunk, &job);
    return 0;
}

struct softmax_job {
    const struct kernels *kernels;
    const float *logits;
    float *gradient;
    size_t vocab;
    const uint32_t *target;
    float *lse, *logp, *entropy;
    uint32_t *best;
    const float *lse_saved, *c;
};

static void softmax_rows(void *arg, size_t begin, size_t end, int worker)
{
    const struct softmax_job *j = arg;
    for (size_t i = begin; i < end; i++) {
        const float *z = j->logits + i * j->vocab;
        float top;
        double entropy, lse;
        lse = j->kernels->log_sum_exp(z, j->vocab, &top, j->entropy ? &entropy : NULL);
        j->lse[i] = (float)lse;
        if (j->logp)
            j->logp[i] = (float)((double)z[j->target[i]] - lse);
        if (j->entropy)
            j->entropy[i] = (float)entropy;
        if (j->best) {
            uint32_t k = 0;
            while (k + 1 < j->vocab && z[k] != top)
                k++;
            j->best[i] = k;
        }
    }
}

static int cpu_log_softmax(struct device *d, const float *logits, size_t n, size_t vocab,
                           const uint32_t *target, float *lse, float *logp, float *entropy,
                           uint32_t *best, struct err *e)
{
    struct softmax_job job = {.kernels = cpu_kernels(d), .logits = logits, .vocab = vocab};
    job.target = target;
    job.lse = lse;
    job.logp = logp;
    job.entropy = entropy;
    job.best = best;
    threads_for(n, cpu_grain(vocab * 4), softmax_rows, &job);
    return 0;
}

static void softmax_backward_rows(void *arg, size_t begin, size_t end, int worker)
{
    const struct softmax_job *j = arg;
    for (size_t i = begin; i < end; i++) {
        float *z = j->gradient + i * j->vocab;
        j->kernels->softmax_gradient(z, j->vocab, j->lse_saved[i], j->c[i]);
        z[j->target[i]] += j->c[i];
    }
}

static int cpu_log_softmax_backward(struct device *d, float *logits, size_t n, size_t vocab,
                                    const uint32_t *target, const float *lse, const float *c,
                                    struct err *e)
{
    struct softmax_job job = {.kernels = cpu_kernels(d), .gradient = logits, .vocab = vocab};
    job.target = target;
    job.lse_saved = lse;
    job.c = c;
    threads_for(n, cpu_grain(vocab * 4), softmax_backward_rows, &job);
    return 0;
}

const struct ops ops_cpu = {
    .name = "cpu",
    .embed = cpu_embed,
    .embed_backward = cpu_embed_backward,
    .linear = cpu_linear,
    .linear_backward = cpu_linear_backward,
    .rmsnorm = cpu_rmsnorm,
    .rmsnorm_backward = cpu_rmsnorm_backward,
    .rope = cpu_rope,
    .attention_store = cpu_attention_store,
    .attention = cpu_attention,
    .attention_backward = cpu_attention_backward,
    .swiglu = cpu_swiglu,
    .swiglu_backward = cpu_swiglu_backward,
    .log_softmax = cpu_log_softmax,
    .log_softmax_backward = cpu_log_softmax_backward,
};

int device_open(struct device *d, const char *name, struct err *e)
{
    memset(d, 0, sizeof *d);
    if (name && strcmp(name, "cpu") != 0)
        return err_set(e, STATUS_USAGE, "--device %s: this build has no backend but cpu", name);
    d->ops = &ops_cpu;
    d->backend = kernels_choose();
    arena_init(&d->scratch);
    openblas_set_num_threads(1); // threads are ours: see linear.c
    return 0;
}

void device_release(struct device *d)
{
    arena_release(&d->scratch);
}
