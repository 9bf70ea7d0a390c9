// SPDX-License-Identifier: MIT
// The CPU backend: its table, and the operations that need no file of their own.
#include "ops/cpu/cpu.h"
#include "base/thread.h"
#include "ops/host.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ELEMENTS = 16384 }; // of an elementwise operation that make a chunk

struct embed_job {
    const struct kernels *kernels;
    const struct tensor *table;
    const uint32_t *token;
    float *out, *grad;
    const float *dout;
    size_t n;
    float factor;
    int add;
};

static void embed_row(const struct embed_job *j, size_t i)
{
    enum { PART = 256 };
    size_t width = j->table->cols, size = dtype_size(j->table->type);
    const char *from = (const char *)j->table->data + j->token[i] * tensor_pitch(j->table) * size;
    float *out = j->out + i * width, part[PART];
    if (!j->add) {
        j->kernels->widen(out, from, j->table->type, width);
        if (j->factor != 1)
            j->kernels->scale(out, j->factor, width);
        return;
    }
    for (size_t k = 0; k < width; k += PART) {
        size_t count = width - k < PART ? width - k : PART;
        j->kernels->widen(part, from + k * size, j->table->type, count);
        j->kernels->axpby(out + k, 1, part, j->factor, count);
    }
}

static void embed_rows(void *arg, size_t begin, size_t end, int worker)
{
    for (size_t i = begin; i < end; i++)
        embed_row(arg, i);
}

static int cpu_embed(struct device *d, float *out, const struct tensor *table,
                     const uint32_t *token, size_t n, float factor, int add, struct err *e)
{
    assert(!table->transposed);
    struct embed_job job = {.kernels = cpu_kernels(d), .table = table, .token = token, .out = out};
    job.factor = factor;
    job.add = add;
    threads_for(n, cpu_grain(table->cols), embed_rows, &job);
    return 0;
}

static size_t column_grain(size_t n, size_t width)
{
    return n * width < 65536 ? width : 64;
}

// A thread has a range of columns, so that tokens that come twice need no lock.
static void embed_gradient(void *arg, size_t begin, size_t end, int worker)
{
    const struct embed_job *j = arg;
    size_t width = j->table->cols, pitch = tensor_pitch(j->table);
    for (size_t i = 0; i < j->n; i++) {
        float *to = j->grad + j->token[i] * pitch + begin;
        const float *from = j->dout + i * width + begin;
        if (j->factor == 1)
            j->kernels->add(to, from, end - begin);
        else
            j->kernels->axpby(to, 1, from, j->factor, end - begin);
    }
}

static int cpu_embed_backward(struct device *d, const struct tensor *table, const float *dout,
                              const uint32_t *token, size_t n, float factor, struct err *e)
{
    struct embed_job job = {.kernels = cpu_kernels(d), .table = table, .token = token};
    job.grad = table->grad;
    job.dout = dout;
    job.n = n;
    job.factor = factor;
    if (job.grad)
        threads_for(table->cols, column_grain(n, table->cols), embed_gradient, &job);
    return 0;
}

struct norm_job {
    const struct kernels *kernels;
    float *y, *dx, *stat;
    const float *x, *dy;
    const float *weight, *bias; // [width], the offset in it
    size_t n, width, pitch;
    int centred;
    float eps;
    const float *saved; // [n][2]
    float *weight_grad, *bias_grad;
};

// weight + offset as fp32.
static const float *norm_factor(struct device *d, const struct norm *p, struct err *e)
{
    if (p->weight.data && p->weight.type == DTYPE_F32 && p->offset == 0)
        return p->weight.data;
    size_t width = p->weight.cols;
    float *factor = arena_alloc(&d->scratch, width, sizeof *factor, e);
    if (!factor)
        return NULL;
    if (p->weight.data)
        cpu_kernels(d)->widen(factor, p->weight.data, p->weight.type, width);
    for (size_t i = 0; i < width; i++)
        factor[i] = p->weight.data ? p->offset + factor[i] : 1;
    return factor;
}

static void norm_row(const struct norm_job *j, size_t i)
{
    const struct kernels *k = j->kernels;
    const float *x = j->x + i * j->pitch;
    double width = (double)j->width, squares;
    float mean = 0;
    if (j->centred) {
        mean = (float)(k->sum(x, j->width) / width);
        squares = k->squares_about(x, mean, j->width);
    } else {
        squares = k->sum_squares(x, j->width);
    }
    float s = (float)(1 / sqrt(squares / width + (double)j->eps));
    if (j->stat) {
        j->stat[2 * i] = mean;
        j->stat[2 * i + 1] = s;
    }
    k->norm(j->y + i * j->pitch, x, j->weight, j->bias, mean, s, j->width);
}

static void norm_chunk(void *arg, size_t begin, size_t end, int worker)
{
    for (size_t i = begin; i < end; i++)
        norm_row(arg, i);
}

static int cpu_norm(struct device *d, float *y, float *stat, const float *x, size_t n, size_t pitch,
                    const struct norm *p, struct err *e)
{
    assert(pitch >= p->weight.cols);
    struct arena_mark mark = arena_mark(&d->scratch);
    struct norm_job job = {.kernels = cpu_kernels(d), .y = y, .stat = stat, .x = x, .pitch = pitch};
    job.width = p->weight.cols;
    job.centred = p->centred;
    job.eps = p->eps;
    job.weight = norm_factor(d, p, e);
    job.bias = p->bias.data ? cpu_f32(d, &p->bias, NULL, e) : NULL;
    if (!job.weight || (p->bias.data && !job.bias))
        return -1;
    threads_for(n, cpu_grain(job.width), norm_chunk, &job);
    arena_rewind(&d->scratch, mark);
    return 0;
}

static void norm_backward_chunk(void *arg, size_t begin, size_t end, int worker)
{
    const struct norm_job *j = arg;
    for (size_t i = begin; i < end; i++)
        j->kernels->norm_backward(j->dx + i * j->pitch, j->dy + i * j->pitch, j->x + i * j->pitch,
                                  j->weight, j->centred, j->saved[2 * i], j->saved[2 * i + 1],
                                  j->width);
}

static void norm_columns(void *arg, size_t begin, size_t end, int worker)
{
    const struct norm_job *j = arg;
    const float *dy = j->dy + begin;
    if (j->weight_grad)
        j->kernels->norm_weight(j->weight_grad + begin, dy, j->x + begin, j->centred, j->saved,
                                j->n, j->pitch, end - begin);
    if (j->bias_grad)
        j->kernels->column_sums(j->bias_grad + begin, dy, j->n, j->pitch, end - begin);
}

static int cpu_norm_backward(struct device *d, float *dx, const float *dy, const float *x,
                             const float *stat, size_t n, size_t pitch, const struct norm *p,
                             struct err *e)
{
    assert(pitch >= p->weight.cols);
    struct arena_mark mark = arena_mark(&d->scratch);
    struct norm_job job = {.kernels = cpu_kernels(d), .dx = dx, .dy = dy, .x = x, .saved = stat};
    job.n = n;
    job.pitch = pitch;
    job.width = p->weight.cols;
    job.centred = p->centred;
    job.weight = norm_factor(d, p, e);
    if (!job.weight)
        return -1;
    threads_for(n, cpu_grain(job.width), norm_backward_chunk, &job);
    job.weight_grad = p->weight.data ? p->weight.grad : NULL;
    job.bias_grad = p->bias.data ? p->bias.grad : NULL;
    if (job.weight_grad || job.bias_grad)
        threads_for(job.width, column_grain(n, job.width), norm_columns, &job);
    arena_rewind(&d->scratch, mark);
    return 0;
}

struct rotate_job {
    const struct kernels *kernels;
    float *x;
    size_t heads, dim;
    const struct rotary *r;
    float sign;
};

static void rotate_rows(void *arg, size_t begin, size_t end, int worker)
{
    const struct rotate_job *j = arg;
    for (size_t i = begin; i < end; i++)
        j->kernels->rotate(j->x + i * j->heads * j->dim, j->heads, j->dim, j->r->dims,
                           j->r->neighbours, j->r->table + j->r->row[i] * j->r->dims, j->sign);
}

static int cpu_rotate(struct device *d, float *x, size_t n, size_t heads, size_t head_dim,
                      const struct rotary *r, int backward, struct err *e)
{
    assert(r->dims % 2 == 0 && r->dims <= head_dim);
    struct rotate_job job = {cpu_kernels(d), x, heads, head_dim, r, backward ? -1.0f : 1.0f};
    threads_for(n, cpu_grain(heads * head_dim), rotate_rows, &job);
    return 0;
}

struct activate_job {
    const struct kernels *kernels;
    enum activation kind;
    float *out, *g, *u; // out: forward
    const float *g_in, *u_in, *dout;
};

static void activate_chunk(void *arg, size_t begin, size_t end, int worker)
{
    const struct activate_job *j = arg;
    j->kernels->activate(j->kind, j->out + begin, j->g_in + begin, j->u_in ? j->u_in + begin : NULL,
                         end - begin);
}

static int cpu_activate(struct device *d, enum activation kind, float *out, const float *g,
                        const float *u, size_t n, struct err *e)
{
    struct activate_job job = {
        .kernels = cpu_kernels(d), .kind = kind, .out = out, .g_in = g, .u_in = u};
    threads_for(n, ELEMENTS, activate_chunk, &job);
    return 0;
}

static void activate_backward_chunk(void *arg, size_t begin, size_t end, int worker)
{
    const struct activate_job *j = arg;
    j->kernels->activate_backward(j->kind, j->g + begin, j->u ? j->u + begin : NULL,
                                  j->dout + begin, end - begin);
}

static int cpu_activate_backward(struct device *d, enum activation kind, float *g, float *u,
                                 const float *dout, size_t n, struct err *e)
{
    struct activate_job job = {
        .kernels = cpu_kernels(d), .kind = kind, .g = g, .u = u, .dout = dout};
    threads_for(n, ELEMENTS, activate_backward_chunk, &job);
    return 0;
}

struct group_job {
    const struct grouping *g;
    float *q, *k, *v, *fused;
    const float *q_in, *k_in, *v_in, *fused_in;
};

static void ungroup_rows(void *arg, size_t begin, size_t end, int worker)
{
    const struct group_job *j = arg;
    size_t dim = j->g->head_dim, queries = j->g->queries * dim;
    for (size_t i = begin * j->g->groups; i < end * j->g->groups; i++) {
        const float *from = j->fused_in + i * (queries + 2 * dim);
        memcpy(j->q + i * queries, from, queries * sizeof *from);
        memcpy(j->k + i * dim, from + queries, dim * sizeof *from);
        memcpy(j->v + i * dim, from + queries + dim, dim * sizeof *from);
    }
}

static size_t group_width(const struct grouping *g)
{
    return g->groups * (g->queries + 2) * g->head_dim;
}

static int cpu_ungroup(struct device *d, const struct grouping *g, float *q, float *k, float *v,
                       const float *fused, size_t n, struct err *e)
{
    struct group_job job = {.g = g, .q = q, .k = k, .v = v, .fused_in = fused};
    threads_for(n, cpu_grain(group_width(g)), ungroup_rows, &job);
    return 0;
}

static void group_rows(void *arg, size_t begin, size_t end, int worker)
{
    const struct group_job *j = arg;
    size_t dim = j->g->head_dim, queries = j->g->queries * dim;
    for (size_t i = begin * j->g->groups; i < end * j->g->groups; i++) {
        float *to = j->fused + i * (queries + 2 * dim);
        memcpy(to, j->q_in + i * queries, queries * sizeof *to);
        memcpy(to + queries, j->k_in + i * dim, dim * sizeof *to);
        memcpy(to + queries + dim, j->v_in + i * dim, dim * sizeof *to);
    }
}

static int cpu_group(struct device *d, const struct grouping *g, float *fused, const float *q,
                     const float *k, const float *v, size_t n, struct err *e)
{
    struct group_job job = {.g = g, .fused = fused, .q_in = q, .k_in = k, .v_in = v};
    threads_for(n, cpu_grain(group_width(g)), group_rows, &job);
    return 0;
}

struct elementwise_job {
    const struct kernels *kernels;
    float *y;
    const float *x;
    float keep, factor; // factor: the cap too
};

static void axpby_chunk(void *arg, size_t begin, size_t end, int worker)
{
    const struct elementwise_job *j = arg;
    j->kernels->axpby(j->y + begin, j->keep, j->x + begin, j->factor, end - begin);
}

static int cpu_axpby(struct device *d, float *y, float keep, const float *x, float factor, size_t n,
                     struct err *e)
{
    struct elementwise_job job = {cpu_kernels(d), y, x, keep, factor};
    threads_for(n, ELEMENTS, axpby_chunk, &job);
    return 0;
}

static void cap_chunk(void *arg, size_t begin, size_t end, int worker)
{
    const struct elementwise_job *j = arg;
    j->kernels->softcap(j->y + begin, 1, j->factor, end - begin);
}

static int cpu_softcap(struct device *d, float *z, float softcap, size_t n, struct err *e)
{
    struct elementwise_job job = {.kernels = cpu_kernels(d), .y = z, .factor = softcap};
    threads_for(n, ELEMENTS, cap_chunk, &job);
    return 0;
}

static void cap_backward_chunk(void *arg, size_t begin, size_t end, int worker)
{
    const struct elementwise_job *j = arg;
    j->kernels->softcap_backward(j->y + begin, j->x + begin, j->factor, end - begin);
}

static int cpu_softcap_backward(struct device *d, float *dz, const float *z, float softcap,
                                size_t n, struct err *e)
{
    struct elementwise_job job = {.kernels = cpu_kernels(d), .y = dz, .x = z, .factor = softcap};
    threads_for(n, ELEMENTS, cap_backward_chunk, &job);
    return 0;
}

static void contrast_chunk(void *arg, size_t begin, size_t end, int worker)
{
    const struct elementwise_job *j = arg;
    for (size_t i = begin; i < end; i++)
        j->y[i] = j->x[i] + j->factor * (j->x[i] - j->y[i]);
}

static int cpu_contrast(struct device *d, float *z, const float *plain, float weight, size_t n,
                        struct err *e)
{
    struct elementwise_job job = {.y = z, .x = plain, .factor = weight};
    threads_for(n, ELEMENTS, contrast_chunk, &job);
    return 0;
}

struct rows_job {
    float *out;
    const float *x;
    const uint32_t *row;
    size_t width;
};

static void gather_chunk(void *arg, size_t begin, size_t end, int worker)
{
    const struct rows_job *j = arg;
    for (size_t i = begin; i < end; i++)
        memcpy(j->out + i * j->width, j->x + j->row[i] * j->width, j->width * sizeof *j->x);
}

static int cpu_gather_rows(struct device *d, float *out, const float *x, const uint32_t *row,
                           size_t n, size_t width, struct err *e)
{
    struct rows_job job = {out, x, row, width};
    threads_for(n, cpu_grain(width), gather_chunk, &job);
    return 0;
}

static void scatter_chunk(void *arg, size_t begin, size_t end, int worker)
{
    const struct rows_job *j = arg;
    for (size_t i = begin; i < end; i++)
        memcpy(j->out + j->row[i] * j->width, j->x + i * j->width, j->width * sizeof *j->x);
}

static int cpu_scatter_rows(struct device *d, float *out, const float *x, const uint32_t *row,
                            size_t n, size_t width, struct err *e)
{
    struct rows_job job = {out, x, row, width};
    threads_for(n, cpu_grain(width), scatter_chunk, &job);
    return 0;
}

static void clamp_chunk(void *arg, size_t begin, size_t end, int worker)
{
    const struct elementwise_job *j = arg;
    for (size_t i = begin; i < end; i++)
        j->y[i] = j->y[i] > j->factor ? j->factor : j->y[i] < -j->factor ? -j->factor : j->y[i];
}

static int cpu_clamp(struct device *d, float *x, float limit, size_t n, struct err *e)
{
    struct elementwise_job job = {.y = x, .factor = limit};
    threads_for(n, ELEMENTS, clamp_chunk, &job);
    return 0;
}

static void clamp_backward_chunk(void *arg, size_t begin, size_t end, int worker)
{
    const struct elementwise_job *j = arg;
    for (size_t i = begin; i < end; i++)
        j->y[i] = fabsf(j->x[i]) < j->factor ? j->y[i] : 0;
}

static int cpu_clamp_backward(struct device *d, float *dx, const float *x, float limit, size_t n,
                              struct err *e)
{
    struct elementwise_job job = {.y = dx, .x = x, .factor = limit};
    threads_for(n, ELEMENTS, clamp_backward_chunk, &job);
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
            size_t k = j->kernels->find(z, j->vocab, top);
            j->best[i] = k < j->vocab ? (uint32_t)k : 0; // NaN is nowhere
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

struct at_job {
    const struct kernels *kernels;
    const float *logits;
    size_t vocab;
    const uint32_t *row, *target;
    float *logp;
};

static void softmax_at(void *arg, size_t begin, size_t end, int worker)
{
    const struct at_job *j = arg;
    for (size_t i = begin; i < end; i++) {
        const float *z = j->logits + j->row[i] * j->vocab;
        float top;
        double lse = j->kernels->log_sum_exp(z, j->vocab, &top, NULL);
        j->logp[i] = (float)((double)z[j->target[i]] - lse);
    }
}

static int cpu_log_softmax_at(struct device *d, const float *logits, size_t vocab,
                              const uint32_t *row, const uint32_t *target, size_t n, float *logp,
                              struct err *e)
{
    struct at_job job = {cpu_kernels(d), logits, vocab, row, target, logp};
    threads_for(n, cpu_grain(vocab * 4), softmax_at, &job);
    return 0;
}

static int cpu_pick(struct device *d, float *out, const float *logits, size_t n, size_t vocab,
                    const uint32_t *target, struct err *e)
{
    for (size_t i = 0; i < n; i++)
        out[i] = logits[i * vocab + target[i]];
    return 0;
}

struct top_job {
    const float *logits, *lse;
    uint32_t *id;
    float *logp;
    size_t vocab, k;
};

static void insert_top(uint32_t *id, float *logp, size_t k, uint32_t token, float value)
{
    size_t i = k - 1;
    for (; i > 0 && logp[i - 1] < value; i--) {
        logp[i] = logp[i - 1];
        id[i] = id[i - 1];
    }
    logp[i] = value;
    id[i] = token;
}

static void top_rows(void *arg, size_t begin, size_t end, int worker)
{
    const struct top_job *j = arg;
    for (size_t row = begin; row < end; row++) {
        const float *z = j->logits + row * j->vocab, lse = j->lse[row];
        uint32_t *id = j->id + row * j->k;
        float *logp = j->logp + row * j->k;
        for (size_t i = 0; i < j->k; i++)
            logp[i] = -INFINITY;
        for (size_t i = 0; i < j->vocab; i++)
            if (z[i] - lse > logp[j->k - 1])
                insert_top(id, logp, j->k, (uint32_t)i, z[i] - lse);
    }
}

static int cpu_top_k(struct device *d, uint32_t *id, float *logp, const float *logits,
                     const float *lse, size_t n, size_t vocab, size_t k, struct err *e)
{
    struct top_job job = {logits, lse, id, logp, vocab, k};
    threads_for(n, cpu_grain(vocab), top_rows, &job);
    return 0;
}

static void weight_rows(void *arg, size_t begin, size_t end, int worker)
{
    const struct softmax_job *j = arg;
    for (size_t i = begin; i < end; i++) {
        const float *z = j->logits + i * j->vocab;
        float *out = j->gradient + i * j->vocab;
        memcpy(out, z, j->vocab * sizeof *out);
        j->kernels->softmax_gradient(out, j->vocab, j->kernels->max(z, j->vocab), -1);
    }
}

static int cpu_softmax(struct device *d, float *out, const float *logits, size_t n, size_t vocab,
                       struct err *e)
{
    struct softmax_job job = {
        .kernels = cpu_kernels(d), .logits = logits, .gradient = out, .vocab = vocab};
    threads_for(n, cpu_grain(vocab * 4), weight_rows, &job);
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

struct divergence_job {
    const struct kernels *kernels;
    const struct divergence *v;
    float *kl, *reverse_kl;
    const float *kl_saved;
    float forward, reverse, *gradient;
};

static void divergence_rows(void *arg, size_t begin, size_t end, int worker)
{
    const struct divergence_job *j = arg;
    const struct divergence *v = j->v;
    for (size_t i = begin; i < end; i++) {
        double sum[2];
        j->kernels->divergence(v->p + i * v->vocab, v->q + i * v->vocab, v->vocab, v->p_lse[i],
                               v->q_lse[i], sum);
        if (j->kl)
            j->kl[i] = (float)sum[0];
        if (j->reverse_kl)
            j->reverse_kl[i] = (float)sum[1];
    }
}

static int cpu_divergence(struct device *d, const struct divergence *v, float *kl, float *reverse,
                          struct err *e)
{
    struct divergence_job job = {
        .kernels = cpu_kernels(d), .v = v, .kl = kl, .reverse_kl = reverse};
    threads_for(v->n, cpu_grain(v->vocab * 8), divergence_rows, &job);
    return 0;
}

static void divergence_backward_rows(void *arg, size_t begin, size_t end, int worker)
{
    const struct divergence_job *j = arg;
    const struct divergence *v = j->v;
    for (size_t i = begin; i < end; i++) {
        size_t at = i * v->vocab;
        j->kernels->divergence_gradient(j->gradient + at, v->p + at, v->q + at, v->vocab,
                                        v->p_lse[i], v->q_lse[i], j->kl_saved[i], j->forward,
                                        j->reverse);
    }
}

static int cpu_divergence_backward(struct device *d, const struct divergence *v, const float *kl,
                                   float forward, float reverse, float *gradient, struct err *e)
{
    struct divergence_job job = {.kernels = cpu_kernels(d), .v = v, .kl_saved = kl};
    job.forward = forward;
    job.reverse = reverse;
    job.gradient = gradient;
    threads_for(v->n, cpu_grain(v->vocab * 8), divergence_backward_rows, &job);
    return 0;
}

// AVX2 and AVX-512 add in the same order, with fused multiply-add: the same bits, with the
// instruction for pairs of bf16 or without.
static const char *cpu_class(const struct device *d)
{
    static char text[96];
    snprintf(text, sizeof text, "%s%s%s", d->backend == &kernels_base ? "plain" : "fma",
             d->products == PRODUCTS_BF16 ? ", bf16 products" : "",
             d->kv == DTYPE_BF16 ? ", bf16 keys and values" : "");
    return text;
}

// A product and attention do not work at the same time.
static size_t cpu_scratch_bytes(const struct device *d, const struct scratch_shape *s)
{
    size_t linear = cpu_linear_scratch(d, s);
    size_t attention = cpu_attention_scratch(s->longest, s->head_dim, 0);
    size_t back = s->backward ? cpu_attention_scratch(s->longest, s->head_dim, 1) : 0;
    size_t most = attention > back ? attention : back;
    return linear > most ? linear : most;
}

const struct ops ops_cpu = {
    .name = "cpu",
    .embed = cpu_embed,
    .embed_backward = cpu_embed_backward,
    .linear = cpu_linear,
    .kernels = cpu_class,
    .scratch_bytes = cpu_scratch_bytes,
    .linear_backward = cpu_linear_backward,
    .attention_store = cpu_attention_store,
    .attention = cpu_attention,
    .attention_of_last = cpu_attention_of_last,
    .attention_backward = cpu_attention_backward,
    .norm = cpu_norm,
    .norm_backward = cpu_norm_backward,
    .rotate = cpu_rotate,
    .activate = cpu_activate,
    .activate_backward = cpu_activate_backward,
    .ungroup = cpu_ungroup,
    .group = cpu_group,
    .axpby = cpu_axpby,
    .softcap = cpu_softcap,
    .softcap_backward = cpu_softcap_backward,
    .contrast = cpu_contrast,
    .gather_rows = cpu_gather_rows,
    .scatter_rows = cpu_scatter_rows,
    .clamp = cpu_clamp,
    .clamp_backward = cpu_clamp_backward,
    .log_softmax = cpu_log_softmax,
    .log_softmax_at = cpu_log_softmax_at,
    .pick = cpu_pick,
    .top_k = cpu_top_k,
    .softmax = cpu_softmax,
    .log_softmax_backward = cpu_log_softmax_backward,
    .divergence = cpu_divergence,
    .divergence_backward = cpu_divergence_backward,
    .adamw = cpu_adamw,
    .rmsprop = cpu_rmsprop,
    .sgd = cpu_sgd,
    .average = cpu_average,
    .sum_squares = cpu_sum_squares,
};

int cpu_open(struct device *d, struct err *e)
{
    d->ops = &ops_cpu;
    d->memory = &memory_host;
    d->backend = kernels_choose(e);
    return d->backend ? 0 : -1;
}
