// SPDX-License-Identifier: MIT
#include "infer/scorer.h"

#include <math.h>
#include <string.h>

void scorer_init(struct scorer *s, struct model *m, struct device *device)
{
    memset(s, 0, sizeof *s);
    pass_init(&s->pass, m, device);
    s->pass.share = rope_same_up_to(&m->config);
}

struct work_bytes scorer_bytes(const struct device *d, const struct model *m, size_t sequences,
                               size_t longest)
{
    struct pass_size s =
        pass_largest(PASS_TOKENS, 1, sequences, longest > 1 ? longest - 1 : longest);
    struct work_bytes head = {.scratch = head_score_bytes(d, m, s.tokens)};
    return work_bytes_add(pass_bytes(d, m, &s, 0), head);
}

void scorer_release(struct scorer *s)
{
    pass_release(&s->pass);
    if (s->contrast.model)
        decoder_release(&s->contrast.decoder);
    if (s->reference.model)
        decoder_release(&s->reference.decoder);
}

static int add_beside(struct scorer *s, struct scorer_beside *b, struct model *other, struct err *e)
{
    struct pass *p = &s->pass;
    if (model_same_vocabulary(p->model, other, e) < 0)
        return -1;
    b->model = other;
    decoder_init(&b->decoder, other, p->device);
    if (model_positions(other) < p->positions)
        p->positions = model_positions(other);
    if (rope_same_up_to(&other->config) < p->share)
        p->share = rope_same_up_to(&other->config);
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

static int forward_beside(struct scorer_beside *b, const struct batch *batch,
                          struct head_beside *out, struct err *e)
{
    *out = (struct head_beside){b->model, NULL};
    if (b->model && decoder_forward(&b->decoder, batch, NULL, 0, e) < 0)
        return -1;
    out->hidden = b->model ? b->decoder.hidden : NULL;
    return 0;
}

static int score_batch(struct scorer *s, const struct head_result *out, struct err *e)
{
    struct pass *p = &s->pass;
    struct head_company company = {.weight = (float)s->weight};
    if (forward_beside(&s->contrast, &p->batch, &company.contrast, e) < 0 ||
        forward_beside(&s->reference, &p->batch, &company.reference, e) < 0 ||
        pass_forward(p, 0, e) < 0)
        return -1;
    int alone = !company.contrast.model && !company.reference.model;
    return head_score(p->device, p->model, p->decoder.hidden, p->packer.target, p->batch.n_wanted,
                      alone ? NULL : &company, out, e);
}

static int is_finite(const struct head_result *r, size_t k)
{
    return !isnan(r->logp[k]) && (!r->kl || isfinite(r->kl[k])) &&
           (!r->reverse || isfinite(r->reverse[k]));
}

static int check_finite(const struct pass *p, const struct head_result *r, size_t *where,
                        struct err *e)
{
    size_t at = 0;
    for (size_t i = p->first; i < p->first + p->n; i++) {
        size_t n = sequence_wanted(&p->sequence[i]);
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
    struct pass *p = &s->pass;
    size_t done = 0;
    int more;
    pass_begin(p, sequence, n);
    while ((more = pass_next(p, e)) > 0) {
        struct head_result r = head_result_at(out, done);
        *where = p->where;
        if (score_batch(s, &r, e) < 0 || (out->logp && check_finite(p, &r, where, e) < 0))
            return -1;
        done += p->batch.n_wanted;
    }
    *where = p->where;
    return more;
}
