// SPDX-License-Identifier: MIT
#include "infer/exact_terms.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static int open_frozen(struct exact_terms *t, struct frozen *f, const char *text, const char *name,
                       const struct model *policy, double *coefficient, struct err *e)
{
    struct named_form form = {name, "DIR:COEF", 0, INFINITY};
    f->model = model_open_weighted(text, &form, coefficient, e);
    if (!f->model)
        return -1;
    decoder_init(&f->decoder, f->model, t->device);
    return model_same_vocabulary(policy, f->model, e);
}

int exact_terms_open(struct exact_terms *t, const char *kl, const char *reverse, double bonus,
                     const struct model *policy, struct device *device, struct err *e)
{
    memset(t, 0, sizeof *t);
    t->device = device;
    t->vocab = policy->config.vocab;
    t->bonus = bonus;
    t->has_bonus = bonus != 0;
    t->has_kl = kl != NULL;
    t->has_reverse = reverse != NULL;
    if (kl && open_frozen(t, &t->frozen[0], kl, "kl-exact", policy, &t->frozen[0].kl, e) < 0)
        return -1;
    if (!reverse)
        return 0;
    // Both ways against one model: it runs once.
    struct frozen *f = &t->frozen[1];
    if (open_frozen(t, f, reverse, "kl-exact-reverse", policy, &f->reverse, e) < 0)
        return -1;
    if (kl && !strcmp(t->frozen[0].model->path, f->model->path)) {
        t->frozen[0].reverse = f->reverse;
        decoder_release(&f->decoder);
        model_close(f->model);
        f->model = NULL;
    }
    return 0;
}

void exact_terms_release(struct exact_terms *t)
{
    for (int i = 0; i < 2; i++)
        if (t->frozen[i].model) {
            decoder_release(&t->frozen[i].decoder);
            model_close(t->frozen[i].model);
        }
    memset(t, 0, sizeof *t);
}

int exact_terms_any(const struct exact_terms *t)
{
    return t->has_kl || t->has_reverse || t->has_bonus;
}

size_t exact_terms_positions(const struct exact_terms *t, const struct model *policy)
{
    size_t positions = model_positions(policy);
    for (int i = 0; i < 2; i++)
        if (t->frozen[i].model && model_positions(t->frozen[i].model) < positions)
            positions = model_positions(t->frozen[i].model);
    return positions;
}

struct work_bytes exact_terms_bytes(const struct exact_terms *t, const struct model *policy,
                                    size_t tokens)
{
    struct work_bytes bytes = {.scratch =
                                   exact_terms_any(t) ? head_terms_bytes(policy, tokens) : 0};
    for (int i = 0; i < 2; i++)
        if (t->frozen[i].model)
            bytes.held += decoder_work_bytes(t->frozen[i].model, tokens, tokens, 0);
    return bytes;
}

static struct head_term *add_term(struct exact_terms *t, size_t n, struct arena *arena,
                                  struct err *e)
{
    assert(t->head.n < HEAD_TERMS_MAX);
    struct head_term *h = &t->head.term[t->head.n++];
    memset(h, 0, sizeof *h);
    h->kl_value = arena_alloc(arena, n, sizeof *h->kl_value, e);
    h->reverse_value = arena_alloc(arena, n, sizeof *h->reverse_value, e);
    return h->kl_value && h->reverse_value ? h : NULL;
}

int exact_terms_forward(struct exact_terms *t, const struct batch *b, double scale,
                        struct arena *arena, struct err *e)
{
    t->head.n = 0;
    for (int i = 0; i < 2; i++) {
        struct frozen *f = &t->frozen[i];
        if (!f->model)
            continue;
        struct head_term *h = add_term(t, b->n_wanted, arena, e);
        if (!h || decoder_forward(&f->decoder, b, NULL, 0, e) < 0)
            return -1;
        h->reference = (struct head_beside){f->model, f->decoder.hidden};
        h->kl = f->kl * scale;
        h->reverse = f->reverse * scale;
    }
    if (!t->has_bonus)
        return 0;
    // The entropy is log(vocabulary) - KL(policy || uniform).
    struct head_term *h = add_term(t, b->n_wanted, arena, e);
    if (!h)
        return -1;
    h->kl = t->bonus * scale;
    return 0;
}

static double sum_of(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i];
    return sum;
}

void exact_terms_collect(const struct exact_terms *t, size_t n, struct exact_stats *sums)
{
    const struct head_term *h = t->head.term;
    for (int i = 0; i < 2; i++) {
        const struct frozen *f = &t->frozen[i];
        if (!f->model)
            continue;
        double kl = sum_of(h->kl_value, n), reverse = sum_of(h->reverse_value, n);
        if (i == 0)
            sums->kl += kl;
        if (i == 1 || !t->frozen[1].model)
            sums->reverse += reverse;
        sums->loss += f->kl * kl + f->reverse * reverse;
        h++;
    }
    if (t->has_bonus)
        sums->loss -= t->bonus * ((double)n * log((double)t->vocab) - sum_of(h->kl_value, n));
}
