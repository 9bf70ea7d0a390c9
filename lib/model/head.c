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
    struct arena_mark mark = arena_mark(&d->scratch);
    struct linear l = {.y = value, .w = m->globals[ROLE_REWARD_HEAD]};
    if (device_result(d, &l.y, n * sizeof *value, e) < 0 ||
        d->ops->linear(d, hidden, n, &l, 1, e) < 0 ||
        device_fetch(d, value, l.y, n * sizeof *value, e) < 0)
        return -1;
    arena_rewind(&d->scratch, mark);
    return 0;
}

int head_reward_backward(struct device *d, struct model *m, const float *hidden, size_t n,
                         const float *dvalue, float *dhidden, struct err *e)
{
    struct arena_mark mark = arena_mark(&d->scratch);
    if (device_list(d, &d->scratch, &dvalue, n * sizeof *dvalue, e) < 0 ||
        d->ops->linear_backward(d, dhidden, 0, dvalue, hidden, n, &m->globals[ROLE_REWARD_HEAD],
                                NULL, e) < 0)
        return -1;
    arena_rewind(&d->scratch, mark);
    return 0;
}

int head_contrast(struct device *d, const struct model *m, const float *hidden,
                  const struct head_beside *other, float weight, size_t n, float *logits,
                  float *plain, struct err *e)
{
    size_t values = n * m->config.vocab;
    if (head_logits(d, m, hidden, n, plain, e) < 0 ||
        head_logits(d, other->model, other->hidden, n, logits, e) < 0)
        return -1;
    return d->ops->contrast(d, logits, plain, weight, values, e);
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

struct head_result head_result_at(const struct head_result *all, size_t first)
{
    struct head_result r = *all;
    r.logp = all->logp ? all->logp + first : NULL;
    r.entropy = all->entropy ? all->entropy + first : NULL;
    r.best = all->best ? all->best + first : NULL;
    r.logit = all->logit ? all->logit + first : NULL;
    r.value = all->value ? all->value + first : NULL;
    r.kl = all->kl ? all->kl + first : NULL;
    r.reverse = all->reverse ? all->reverse + first : NULL;
    r.top = all->top ? all->top + first * all->k : NULL;
    r.top_logp = all->top_logp ? all->top_logp + first * all->k : NULL;
    return r;
}

// From the arrays of the caller, [n], to those that operations write.
static int place_result(struct device *d, struct head_result *r, size_t n, struct err *e)
{
    size_t bytes = n * sizeof(float);
    return device_result(d, &r->logp, bytes, e) < 0 ||
                   device_result(d, &r->entropy, bytes, e) < 0 ||
                   device_result(d, &r->best, bytes, e) < 0 ||
                   device_result(d, &r->logit, bytes, e) < 0 ||
                   device_result(d, &r->value, bytes, e) < 0 ||
                   device_result(d, &r->kl, bytes, e) < 0 ||
                   device_result(d, &r->reverse, bytes, e) < 0 ||
                   device_result(d, &r->top, bytes * r->k, e) < 0 ||
                   device_result(d, &r->top_logp, bytes * r->k, e) < 0
               ? -1
               : 0;
}

static int fetch_result(struct device *d, const struct head_result *out,
                        const struct head_result *r, size_t n, struct err *e)
{
    size_t bytes = n * sizeof(float);
    return device_fetch(d, out->logp, r->logp, bytes, e) < 0 ||
                   device_fetch(d, out->entropy, r->entropy, bytes, e) < 0 ||
                   device_fetch(d, out->best, r->best, bytes, e) < 0 ||
                   device_fetch(d, out->logit, r->logit, bytes, e) < 0 ||
                   device_fetch(d, out->value, r->value, bytes, e) < 0 ||
                   device_fetch(d, out->kl, r->kl, bytes, e) < 0 ||
                   device_fetch(d, out->reverse, r->reverse, bytes, e) < 0 ||
                   device_fetch(d, out->top, r->top, bytes * r->k, e) < 0 ||
                   device_fetch(d, out->top_logp, r->top_logp, bytes * r->k, e) < 0
               ? -1
               : 0;
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

// n rows from `first` on: their logits, and what is asked of them. hidden, target and r are those
// of all rows.
static int score_chunk(struct device *d, const struct model *m, const struct chunk *c,
                       const float *hidden, const uint32_t *target, size_t first, size_t n,
                       const struct head_company *company, const struct head_result *all,
                       struct err *e)
{
    const struct ops *ops = d->ops;
    struct head_result r = head_result_at(all, first);
    size_t vocab = m->config.vocab;
    float scale = scale_of(all);
    target += first;
    if (chunk_logits(d, m, c, hidden, first, n, company, e) < 0 ||
        (scale != 1 && ops->axpby(d, c->logits, 0, c->logits, scale, n * vocab, e) < 0) ||
        ops->log_softmax(d, c->logits, n, vocab, target, c->lse, r.logp, r.entropy, r.best, e) < 0)
        return -1;
    if ((r.k && ops->top_k(d, r.top, r.top_logp, c->logits, c->lse, n, vocab, r.k, e) < 0) ||
        (r.logit && ops->pick(d, r.logit, c->logits, n, vocab, target, e) < 0) ||
        (r.value && d->memory->copy(d, r.value, c->lse, n * sizeof *c->lse, e) < 0))
        return -1;
    if (!company || !company->reference.model)
        return 0;
    if (other_logits(d, c, &company->reference, first, n, e) < 0)
        return -1;
    struct divergence v = divergence_of(c, n, vocab);
    return ops->divergence(d, &v, r.kl, r.reverse, e);
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
    struct head_result r = *out;
    struct chunk c;
    if (chunk_open(&c, d, m, SCORE_BYTES, n, company != NULL, e) < 0 ||
        place_result(d, &r, n, e) < 0 ||
        device_list(d, &d->scratch, &target, n * sizeof *target, e) < 0)
        return -1;
    for (size_t first = 0; first < n; first += c.rows) {
        size_t rows = n - first < c.rows ? n - first : c.rows;
        if (score_chunk(d, m, &c, hidden, target, first, rows, company, &r, e) < 0)
            return -1;
    }
    if (fetch_result(d, out, &r, n, e) < 0)
        return -1;
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

// The uniform distribution's logits and their lse, into the chunk's second set.
static int uniform_logits(struct device *d, const struct chunk *c, size_t n, size_t vocab,
                          struct err *e)
{
    struct arena_mark mark = arena_mark(&d->host);
    float *lse = arena_alloc(&d->host, n, sizeof *lse, e);
    for (size_t i = 0; lse && i < n; i++)
        lse[i] = (float)log((double)vocab);
    if (!lse || d->memory->put(d, c->other_lse, lse, n * sizeof *lse, e) < 0)
        return -1;
    arena_rewind(&d->host, mark);
    return d->memory->zero(d, c->other, n * vocab * sizeof *c->other, e);
}

// Logits of a term's reference, into the chunk's second set.
static int term_logits(struct device *d, const struct model *m, const struct chunk *c,
                       const struct head_beside *reference, size_t first, size_t n, struct err *e)
{
    return reference->model ? other_logits(d, c, reference, first, n, e)
                            : uniform_logits(d, c, n, m->config.vocab, e);
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

static int place_terms(struct device *d, struct head_terms *t, size_t n, struct err *e)
{
    for (size_t i = 0; i < t->n; i++)
        if (device_result(d, &t->term[i].kl_value, n * sizeof(float), e) < 0 ||
            device_result(d, &t->term[i].reverse_value, n * sizeof(float), e) < 0)
            return -1;
    return 0;
}

static int fetch_terms(struct device *d, const struct head_terms *t,
                       const struct head_terms *placed, size_t n, struct err *e)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct head_term *to = &t->term[i], *from = &placed->term[i];
        if (device_fetch(d, to->kl_value, from->kl_value, n * sizeof(float), e) < 0 ||
            device_fetch(d, to->reverse_value, from->reverse_value, n * sizeof(float), e) < 0)
            return -1;
    }
    return 0;
}

// What the chunks of a head_train share.
struct head_pass {
    struct chunk chunk;
    float *gradient;     // of the chunk's logits, or they themselves
    float *logp;         // [n] the host's
    float *c, *placed_c; // [rows of a chunk] the host's, and as operations read it
    // As operations read and write them.
    const uint32_t *target;
    struct head_result result;
    struct head_terms terms;
};

static int head_pass_open(struct head_pass *t, struct device *d, const struct model *m, size_t n,
                          int apart, struct err *e)
{
    struct head_result *r = &t->result;
    if (chunk_open(&t->chunk, d, m, TRAIN_BYTES, n, t->terms.n > 0, e) < 0)
        return -1;
    t->logp = r->logp = r->logp ? r->logp : arena_alloc(&d->host, n, sizeof *r->logp, e);
    t->c = t->placed_c = arena_alloc(&d->host, t->chunk.rows, sizeof *t->c, e);
    if (!t->logp || !t->c || place_result(d, r, n, e) < 0 || place_terms(d, &t->terms, n, e) < 0 ||
        device_result(d, &t->placed_c, t->chunk.rows * sizeof *t->c, e) < 0 ||
        device_list(d, &d->scratch, &t->target, n * sizeof *t->target, e) < 0)
        return -1;
    size_t values = t->chunk.rows * m->config.vocab;
    t->gradient = apart ? arena_alloc(&d->scratch, values, sizeof(float), e) : t->chunk.logits;
    return t->gradient ? 0 : -1;
}

// What the loss answers to the chunk's log-probabilities.
static int ask(struct head_pass *t, struct device *d, size_t first, size_t n, head_loss *loss,
               void *arg, struct err *e)
{
    float *logp = t->logp + first, scale = scale_of(&t->result);
    if (device_fetch(d, logp, t->result.logp + first, n * sizeof *logp, e) < 0 ||
        loss(arg, first, n, logp, t->c, e) < 0)
        return -1;
    for (size_t i = 0; scale != 1 && i < n; i++)
        t->c[i] *= scale;
    return device_send(d, t->placed_c, t->c, n * sizeof *t->c, e);
}

// The chunk's logits become their gradient, or `gradient` does where the logits are needed yet.
static int chunk_gradient(struct device *d, const struct model *m, const struct head_pass *t,
                          size_t first, size_t n, struct err *e)
{
    const struct chunk *chunk = &t->chunk;
    size_t vocab = m->config.vocab, bytes = n * vocab * sizeof *t->gradient;
    if (t->gradient != chunk->logits &&
        d->memory->copy(d, t->gradient, chunk->logits, bytes, e) < 0)
        return -1;
    if (d->ops->log_softmax_backward(d, t->gradient, n, vocab, t->target + first, chunk->lse,
                                     t->placed_c, e) < 0)
        return -1;
    return add_terms(d, m, chunk, first, n, &t->terms, t->gradient, e);
}

int head_train(struct device *d, struct model *m, const float *hidden, const uint32_t *target,
               size_t n, const struct head_terms *terms, const struct head_result *out,
               head_loss *loss, void *arg, float *dhidden, struct err *e)
{
    assert(!out->k && !out->kl && !out->reverse);
    assert(!terms || (terms->n <= HEAD_TERMS_MAX && scale_of(out) == 1));
    struct arena_mark mark = arena_mark(&d->scratch), host = arena_mark(&d->host);
    size_t width = m->config.end_width;
    int apart = terms || m->config.logit_softcap > 0;
    struct head_pass t = {.target = target, .result = *out};
    if (terms)
        t.terms = *terms;
    if (head_pass_open(&t, d, m, n, apart, e) < 0)
        return -1;
    for (size_t first = 0; first < n; first += t.chunk.rows) {
        size_t rows = n - first < t.chunk.rows ? n - first : t.chunk.rows;
        if (score_chunk(d, m, &t.chunk, hidden, t.target, first, rows, NULL, &t.result, e) < 0 ||
            ask(&t, d, first, rows, loss, arg, e) < 0 ||
            chunk_gradient(d, m, &t, first, rows, e) < 0 ||
            logits_backward(d, m, t.gradient, t.chunk.logits, scale_of(out), hidden + first * width,
                            rows, dhidden + first * width, e) < 0)
            return -1;
    }
    t.result.logp = out->logp; // the loss had it
    if (fetch_result(d, out, &t.result, n, e) < 0 ||
        (terms && fetch_terms(d, terms, &t.terms, n, e) < 0))
        return -1;
    arena_rewind(&d->scratch, mark);
    arena_rewind(&d->host, host);
    return 0;
}
