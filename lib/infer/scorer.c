// SPDX-License-Identifier: MIT
#include "infer/scorer.h"

#include <math.h>
#include <string.h>

enum { BATCH_TOKENS = 2048 };

void scorer_init(struct scorer *s, struct model *m, struct device *device)
{
    memset(s, 0, sizeof *s);
    s->model = m;
    s->device = device;
    s->batch_tokens = BATCH_TOKENS;
    s->positions = model_positions(m);
    s->share = rope_same_up_to(&m->config);
    decoder_init(&s->decoder, m, device);
    arena_init(&s->arena);
}

void scorer_release(struct scorer *s)
{
    decoder_release(&s->decoder);
    if (s->contrast.model)
        decoder_release(&s->contrast.decoder);
    if (s->reference.model)
        decoder_release(&s->reference.decoder);
    arena_release(&s->arena);
}

static int add_beside(struct scorer *s, struct scorer_beside *b, struct model *other, struct err *e)
{
    if (model_same_vocabulary(s->model, other, e) < 0)
        return -1;
    b->model = other;
    decoder_init(&b->decoder, other, s->device);
    if (model_positions(other) < s->positions)
        s->positions = model_positions(other);
    if (rope_same_up_to(&other->config) < s->share)
        s->share = rope_same_up_to(&other->config);
    return 0;
}

int scorer_contrast(struct scorer *s, struct model *other, double weight, struct err *e)
{
    s->weight = weight;
    return add_beside(s, &s->contrast, other, e);
}

int scorer_reference(struct scorer *s, struct model *other, struct err *e)
{
    return add_beside(s, &s->reference, other, e);
}

static struct head_result part(const struct head_result *all, size_t at)
{
    struct head_result r = *all;
    r.logp = all->logp ? all->logp + at : NULL;
    r.entropy = all->entropy ? all->entropy + at : NULL;
    r.best = all->best ? all->best + at : NULL;
    r.logit = all->logit ? all->logit + at : NULL;
    r.value = all->value ? all->value + at : NULL;
    r.kl = all->kl ? all->kl + at : NULL;
    r.reverse = all->reverse ? all->reverse + at : NULL;
    r.top = all->top ? all->top + at * all->k : NULL;
    r.top_logp = all->top_logp ? all->top_logp + at * all->k : NULL;
    return r;
}

static int forward_beside(struct scorer_beside *b, const struct batch *batch,
                          struct head_beside *out, struct err *e)
{
    *out = (struct head_beside){b->model, NULL};
    if (b->model && decoder_forward(&b->decoder, batch, NULL, 0, e) < 0)
        return -1;
    out->hidden = b->model ? b->decoder.hidden : NULL;
    return 0;
}

static int score_batch(struct scorer *s, const struct packer *p, const struct head_result *out,
                       struct err *e)
{
    struct batch b;
    struct head_company company = {.weight = (float)s->weight};
    packer_batch(p, &b);
    if (forward_beside(&s->contrast, &b, &company.contrast, e) < 0 ||
        forward_beside(&s->reference, &b, &company.reference, e) < 0 ||
        decoder_forward(&s->decoder, &b, NULL, 0, e) < 0)
        return -1;
    int alone = !company.contrast.model && !company.reference.model;
    return head_score(s->device, s->model, s->decoder.hidden, p->target, p->n_wanted,
                      alone ? NULL : &company, out, e);
}

static int is_finite(const struct head_result *r, size_t k)
{
    return !isnan(r->logp[k]) && (!r->kl || isfinite(r->kl[k])) &&
           (!r->reverse || isfinite(r->reverse[k]));
}

static int check_finite(const struct sequence *sequence, size_t first, size_t end,
                        const struct head_result *r, size_t *where, struct err *e)
{
    size_t at = 0;
    for (size_t i = first; i < end; i++) {
        size_t n = sequence_wanted(&sequence[i]);
        for (size_t k = at; k < at + n; k++)
            if (!is_finite(r, k)) {
                *where = i;
                return err_set(e, STATUS_FAILED, "the model's %s is not a number",
                               isnan(r->logp[k]) ? "log-probability" : "KL");
            }
        at += n;
    }
    return 0;
}

int scorer_run(struct scorer *s, const struct sequence *sequence, size_t n,
               const struct head_result *out, size_t *where, struct err *e)
{
    size_t done = 0;
    for (size_t first = 0; first < n;) {
        size_t end = first, tokens = 0;
        while (end < n && (end == first || tokens + sequence[end].n <= s->batch_tokens))
            tokens += sequence[end++].n;
        struct packer p;
        arena_clear(&s->arena);
        *where = first;
        if (packer_init(&p, &s->arena, tokens, end - first, e) < 0)
            return -1;
        p.share = s->share;
        for (size_t i = first; i < end; i++) {
            *where = i;
            if (batch_check_tokens(sequence[i].token, sequence[i].n, s->model->config.vocab, e) < 0)
                return -1;
            if (sequence[i].n > s->positions + 1)
                return err_set(e, STATUS_FAILED,
                               "%zu tokens are more than the model's %zu positions", sequence[i].n,
                               s->positions);
            packer_add(&p, &sequence[i]);
        }
        struct head_result r = part(out, done);
        if (p.n_wanted && score_batch(s, &p, &r, e) < 0)
            return -1;
        if (p.n_wanted && out->logp && check_finite(sequence, first, end, &r, where, e) < 0)
            return -1;
        done += p.n_wanted;
        first = end;
    }
    return 0;
}
