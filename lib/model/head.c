// SPDX-License-Identifier: MIT
#include "model/head.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum {
    SCORE_BYTES = 16 << 20, // of logits at a time: stay in the last-level cache
    TRAIN_BYTES = 48 << 20, // larger, because each chunk reads and writes the head's gradient once
};

static size_t chunk_rows(const struct model *m, size_t bytes, size_t n)
{
    size_t rows = bytes / (m->config.vocab * sizeof(float)) / 16 * 16;
    if (rows < 16)
        rows = 16;
    return rows < n ? rows : n;
}

int head_logits(struct device *d, const struct model *m, const float *hidden, size_t n,
                float *logits, struct err *e)
{
    const struct model_config *c = &m->config;
    size_t values = n * c->vocab;
    struct linear l = {.y = logits, .w = m->globals[ROLE_HEAD], .bias = m->globals[ROLE_HEAD_BIAS]};
    if (d->ops->linear(d, hidden, n, &l, 1, e) < 0 ||
        (c->logit_scale != 1 && d->ops->axpby(d, logits, 0, logits, c->logit_scale, values, e) < 0))
        return -1;
    return c->logit_softcap > 0 ? d->ops->softcap(d, logits, c->logit_softcap, values, e) : 0;
}

// The way back of head_logits: from `gradient` of the logits, which is spoiled, the gradient of the
// head and dhidden. `logits`: those that were made, times `scale`; read only where they are capped.
static int logits_backward(struct device *d, const struct model *m, float *gradient,
                           const float *logits, float scale, const float *hidden, size_t n,
                           float *dhidden, struct err *e)
{
    const struct model_config *c = &m->config;
    size_t values = n * c->vocab;
    if (c->logit_softcap > 0 &&
        d->ops->softcap_backward(d, gradient, logits, c->logit_softcap * scale, values, e) < 0)
        return -1;
    if (c->logit_scale != 1 &&
        d->ops->axpby(d, gradient, 0, gradient, c->logit_scale, values, e) < 0)
        return -1;
    return d->ops->linear_backward(d, dhidden, 0, gradient, hidden, n, &m->globals[ROLE_HEAD],
                                   &m->globals[ROLE_HEAD_BIAS], e);
}

int head_reward(struct device *d, const struct model *m, const float *hidden, size_t n,
                float *value, struct err *e)
{
    struct linear l = {.y = value, .w = m->globals[ROLE_REWARD_HEAD]};
    return d->ops->linear(d, hidden, n, &l, 1, e);
}

int head_reward_backward(struct device *d, struct model *m, const float *hidden, size_t n,
                         const float *dvalue, float *dhidden, struct err *e)
{
    return d->ops->linear_backward(d, dhidden, 0, dvalue, hidden, n, &m->globals[ROLE_REWARD_HEAD],
                                   NULL, e);
}

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

static void top_row(const float *z, size_t vocab, float lse, size_t k, uint32_t *id, float *logp)
{
    for (size_t i = 0; i < k; i++)
        logp[i] = -__builtin_inff();
    for (size_t i = 0; i < vocab; i++)
        if (z[i] - lse > logp[k - 1])
            insert_top(id, logp, k, (uint32_t)i, z[i] - lse);
}

int head_contrast(struct device *d, const struct model *m, const float *hidden,
                  const struct head_beside *other, float weight, size_t n, float *logits,
                  float *plain, struct err *e)
{
    size_t values = n * m->config.vocab;
    if (head_logits(d, m, hidden, n, plain, e) < 0 ||
        head_logits(d, other->model, other->hidden, n, logits, e) < 0)
        return -1;
    for (size_t i = 0; i < values; i++)
        logits[i] = plain[i] + weight * (plain[i] - logits[i]);
    return 0;
}

// Rows from `first` on, of another model.
static struct head_beside beside_at(const struct head_beside *all, size_t first)
{
    return (struct head_beside){all->model, all->hidden + first * all->model->config.end_width};
}

// Logits of some rows at a time; `other`: a second set, of models beside.
struct chunk {
    float *logits, *lse, *other, *other_lse;
    size_t rows;
};

// 1 / temperature.
static float scale_of(const struct head_result *out)
{
    return out->temperature > 0 ? 1 / out->temperature : 1;
}

static void scale_rows(float *x, size_t n, float scale)
{
    for (size_t i = 0; scale != 1 && i < n; i++)
        x[i] *= scale;
}

static int chunk_logits(struct device *d, const struct model *m, const struct chunk *c,
                        const float *hidden, size_t first, size_t n,
                        const struct head_company *company, struct err *e)
{
    hidden += first * m->config.end_width;
    if (!company || !company->contrast.model)
        return head_logits(d, m, hidden, n, c->logits, e);
    struct head_beside contrast = beside_at(&company->contrast, first);
    return head_contrast(d, m, hidden, &contrast, company->weight, n, c->logits, c->other, e);
}

// Logits and lse of a model beside, into the chunk's second set.
static int other_logits(struct device *d, const struct chunk *c, const struct head_beside *other,
                        size_t first, size_t n, struct err *e)
{
    struct head_beside some = beside_at(other, first);
    if (head_logits(d, some.model, some.hidden, n, c->other, e) < 0)
        return -1;
    return d->ops->log_softmax(d, c->other, n, some.model->config.vocab, NULL, c->other_lse, NULL,
                               NULL, NULL, e);
}

static struct divergence divergence_of(const struct chunk *c, size_t n, size_t vocab)
{
    return (struct divergence){c->logits, c->lse, c->other, c->other_lse, n, vocab};
}

static int score_chunk(struct device *d, const struct model *m, const struct chunk *c,
                       const float *hidden, const uint32_t *target, size_t first, size_t n,
                       const struct head_company *company, const struct head_result *out,
                       float *logp, struct err *e)
{
    size_t vocab = m->config.vocab;
    if (chunk_logits(d, m, c, hidden, first, n, company, e) < 0)
        return -1;
    scale_rows(c->logits, n * vocab, scale_of(out));
    if (d->ops->log_softmax(d, c->logits, n, vocab, target + first, c->lse, logp,
                            out->entropy ? out->entropy + first : NULL,
                            out->best ? out->best + first : NULL, e) < 0)
        return -1;
    for (size_t i = 0; i < n && out->k; i++)
        top_row(c->logits + i * vocab, vocab, c->lse[i], out->k, out->top + (first + i) * out->k,
                out->top_logp + (first + i) * out->k);
    for (size_t i = 0; i < n && out->logit; i++)
        out->logit[first + i] = c->logits[i * vocab + target[first + i]];
    if (out->value)
        memcpy(out->value + first, c->lse, n * sizeof *c->lse);
    if (!company || !company->reference.model)
        return 0;
    if (other_logits(d, c, &company->reference, first, n, e) < 0)
        return -1;
    struct divergence v = divergence_of(c, n, vocab);
    return d->ops->divergence(d, &v, out->kl ? out->kl + first : NULL,
                              out->reverse ? out->reverse + first : NULL, e);
}

static int chunk_open(struct chunk *c, struct device *d, const struct model *m, size_t bytes,
                      size_t n, int other, struct err *e)
{
    c->rows = chunk_rows(m, bytes, n);
    c->logits = arena_alloc(&d->scratch, c->rows * m->config.vocab, sizeof(float), e);
    c->lse = arena_alloc(&d->scratch, c->rows, sizeof(float), e);
    c->other = NULL;
    c->other_lse = NULL;
    if (!c->logits || !c->lse || !other)
        return c->logits && c->lse ? 0 : -1;
    c->other = arena_alloc(&d->scratch, c->rows * m->config.vocab, sizeof(float), e);
    c->other_lse = arena_alloc(&d->scratch, c->rows, sizeof(float), e);
    return c->other && c->other_lse ? 0 : -1;
}

int head_score(struct device *d, const struct model *m, const float *hidden, const uint32_t *target,
               size_t n, const struct head_company *company, const struct head_result *out,
               struct err *e)
{
    assert(!out->k || (out->top && out->top_logp && out->k <= m->config.vocab));
    assert((!out->kl && !out->reverse) || (company && company->reference.model));
    struct arena_mark mark = arena_mark(&d->scratch);
    struct chunk c;
    if (chunk_open(&c, d, m, SCORE_BYTES, n, company != NULL, e) < 0)
        return -1;
    for (size_t first = 0; first < n; first += c.rows) {
        size_t rows = n - first < c.rows ? n - first : c.rows;
        if (score_chunk(d, m, &c, hidden, target, first, rows, company, out,
                        out->logp ? out->logp + first : NULL, e) < 0)
            return -1;
    }
    arena_rewind(&d->scratch, mark);
    return 0;
}

// One set of logits of a chunk, and what makes them.
static size_t chunk_bytes(const struct device *d, const struct model *m, size_t bytes, size_t n,
                          int sets)
{
    struct scratch_shape s = {.rows = chunk_rows(m, bytes, n), .depth = m->config.end_width};
    return (size_t)sets * s.rows * m->config.vocab * sizeof(float) + d->ops->scratch_bytes(d, &s);
}

size_t head_score_bytes(const struct device *d, const struct model *m, size_t n)
{
    return chunk_bytes(d, m, SCORE_BYTES, n, 1);
}

size_t head_train_bytes(const struct device *d, const struct model *m, size_t n)
{
    return chunk_bytes(d, m, TRAIN_BYTES, n, m->config.logit_softcap > 0 ? 2 : 1);
}

size_t head_terms_bytes(const struct model *m, size_t n)
{
    return 2 * chunk_rows(m, TRAIN_BYTES, n) * m->config.vocab * sizeof(float);
}

// Logits of a term's reference, into the chunk's second set.
static int term_logits(struct device *d, const struct model *m, const struct chunk *c,
                       const struct head_beside *reference, size_t first, size_t n, struct err *e)
{
    size_t vocab = m->config.vocab;
    if (reference->model)
        return other_logits(d, c, reference, first, n, e);
    memset(c->other, 0, n * vocab * sizeof *c->other);
    for (size_t i = 0; i < n; i++)
        c->other_lse[i] = (float)log((double)vocab);
    return 0;
}

// Measures the terms of a chunk and adds their gradient to that of its logits.
static int add_terms(struct device *d, const struct model *m, const struct chunk *c, size_t first,
                     size_t n, const struct head_terms *terms, float *gradient, struct err *e)
{
    struct divergence v = divergence_of(c, n, m->config.vocab);
    for (size_t i = 0; i < terms->n; i++) {
        const struct head_term *t = &terms->term[i];
        if (term_logits(d, m, c, &t->reference, first, n, e) < 0 ||
            d->ops->divergence(d, &v, t->kl_value + first, t->reverse_value + first, e) < 0)
            return -1;
        if ((t->kl != 0 || t->reverse != 0) &&
            d->ops->divergence_backward(d, &v, t->kl_value + first, (float)t->kl, (float)t->reverse,
                                        gradient, e) < 0)
            return -1;
    }
    return 0;
}

// The chunk's logits become their gradient, or `gradient` does where the logits are needed yet.
static int chunk_gradient(struct device *d, const struct model *m, const struct chunk *chunk,
                          const uint32_t *target, size_t first, size_t n, const float *c,
                          const struct head_terms *terms, float *gradient, struct err *e)
{
    size_t vocab = m->config.vocab;
    if (gradient != chunk->logits)
        memcpy(gradient, chunk->logits, n * vocab * sizeof *gradient);
    if (d->ops->log_softmax_backward(d, gradient, n, vocab, target + first, chunk->lse, c, e) < 0)
        return -1;
    return terms ? add_terms(d, m, chunk, first, n, terms, gradient, e) : 0;
}

int head_train(struct device *d, struct model *m, const float *hidden, const uint32_t *target,
               size_t n, const struct head_terms *terms, const struct head_result *out,
               head_loss *loss, void *arg, float *dhidden, struct err *e)
{
    assert(!out->k && !out->kl && !out->reverse);
    assert(!terms || (terms->n <= HEAD_TERMS_MAX && scale_of(out) == 1));
    struct arena_mark mark = arena_mark(&d->scratch);
    size_t width = m->config.end_width;
    struct chunk chunk;
    if (chunk_open(&chunk, d, m, TRAIN_BYTES, n, terms != NULL, e) < 0)
        return -1;
    float *logp = arena_alloc(&d->scratch, chunk.rows, sizeof *logp, e);
    float *c = arena_alloc(&d->scratch, chunk.rows, sizeof *c, e);
    int apart = terms || m->config.logit_softcap > 0;
    float *gradient =
        apart ? arena_alloc(&d->scratch, chunk.rows * m->config.vocab, sizeof *gradient, e)
              : chunk.logits;
    if (!logp || !c || !gradient)
        return -1;
    for (size_t first = 0; first < n; first += chunk.rows) {
        size_t rows = n - first < chunk.rows ? n - first : chunk.rows;
        if (score_chunk(d, m, &chunk, hidden, target, first, rows, NULL, out, logp, e) < 0)
            return -1;
        if (out->logp)
            memcpy(out->logp + first, logp, rows * sizeof *logp);
        if (loss(arg, first, rows, logp, c, e) < 0)
            return -1;
        scale_rows(c, rows, scale_of(out));
        if (chunk_gradient(d, m, &chunk, target, first, rows, c, terms, gradient, e) < 0 ||
            logits_backward(d, m, gradient, chunk.logits, scale_of(out), hidden + first * width,
                            rows, dhidden + first * width, e) < 0)
            return -1;
    }
    arena_rewind(&d->scratch, mark);
    return 0;
}
