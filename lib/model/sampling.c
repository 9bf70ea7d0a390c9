// SPDX-License-Identifier: MIT
#include "model/sampling.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int sampling_is_plain(const struct sampling *s)
{
    return s->temperature == 1 && s->top_k == 0 && s->top_p >= 1 && s->min_p <= 0 &&
           s->repetition_penalty == 1;
}

int sampling_work_init(struct sampling_work *w, size_t vocab, struct arena *arena, struct err *e)
{
    w->z = arena_alloc(arena, vocab, sizeof *w->z, e);
    w->candidate = arena_alloc(arena, vocab, sizeof *w->candidate, e);
    return w->z && w->candidate ? 0 : -1;
}

// Penalised logits; each distinct token of the history once.
static void penalise(float *z, const float *logits, size_t vocab, const uint32_t *history, size_t n,
                     double penalty)
{
    memcpy(z, logits, vocab * sizeof *z);
    for (size_t i = 0; i < n; i++) {
        uint32_t t = history[i];
        z[t] = (float)(logits[t] < 0 ? logits[t] * penalty : logits[t] / penalty);
    }
}

// Of equal ones the last comes first, as transformers' rising sort leaves them.
static int by_value(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->z != y->z)
        return x->z > y->z ? -1 : 1;
    return x->token > y->token ? -1 : x->token < y->token;
}

// The k-th largest of z[0..n) by repeated partition; `z` is reordered.
static float kth_largest(float *z, size_t n, size_t k)
{
    size_t low = 0, high = n - 1, want = k - 1;
    while (low < high) {
        float pivot = z[low + (high - low) / 2];
        size_t i = low, j = high;
        for (;;) {
            while (z[i] > pivot)
                i++;
            while (z[j] < pivot)
                j--;
            if (i >= j)
                break;
            float swap = z[i];
            z[i++] = z[j];
            z[j--] = swap;
        }
        if (want <= j)
            high = j;
        else
            low = j + 1;
    }
    return z[want];
}

size_t sampling_candidates(const struct sampling *s, const float *logits, size_t vocab,
                           const uint32_t *history, size_t n, struct sampling_work *w,
                           float *largest)
{
    penalise(w->z, logits, vocab, history, n, s->repetition_penalty);
    float inverse = (float)(1 / s->temperature);
    float top = -INFINITY, threshold = -INFINITY;
    for (size_t i = 0; i < vocab; i++) {
        w->z[i] *= inverse;
        w->candidate[i].z = w->z[i];
        if (w->z[i] > top)
            top = w->z[i];
    }
    *largest = top;
    if (s->top_k && s->top_k < vocab)
        threshold = kth_largest(w->z, vocab, s->top_k);
    size_t kept = 0;
    for (size_t i = 0; i < vocab; i++) {
        float z = w->candidate[i].z;
        if (z >= threshold)
            w->candidate[kept++] = (struct candidate){z, (uint32_t)i};
    }
    if (s->top_p < 1) {
        double total = 0, mass = 0;
        qsort(w->candidate, kept, sizeof *w->candidate, by_value);
        for (size_t i = 0; i < kept; i++)
            total += exp((double)w->candidate[i].z - top);
        size_t i = 0;
        while (i < kept && (i == 0 || mass < s->top_p * total))
            mass += exp((double)w->candidate[i++].z - top);
        kept = i;
    }
    if (s->min_p > 0) {
        double least = top + log(s->min_p);
        size_t left = 0;
        for (size_t i = 0; i < kept; i++)
            if (w->candidate[i].z >= least)
                w->candidate[left++] = w->candidate[i];
        kept = left;
    }
    return kept;
}

static int not_finite(struct err *e)
{
    return err_set(e, STATUS_FAILED, "the model's logits are not finite");
}

static int greedy(const struct sampling *s, const float *logits, size_t vocab,
                  const uint32_t *history, size_t n, struct sampling_work *w, uint32_t *token,
                  struct err *e)
{
    if (s->repetition_penalty != 1) {
        penalise(w->z, logits, vocab, history, n, s->repetition_penalty);
        logits = w->z;
    }
    size_t best = 0;
    for (size_t i = 0; i < vocab; i++) {
        if (isnan(logits[i]))
            return not_finite(e);
        if (logits[i] > logits[best])
            best = i;
    }
    *token = (uint32_t)best;
    return 0;
}

// Inverse of the cumulative distribution at u, tokens in order of their ids.
static int draw_plain(struct device *d, const float *logits, size_t vocab, struct sampling_work *w,
                      double u, uint32_t *token, float *logp, struct err *e)
{
    if (d->ops->softmax(d, w->z, logits, 1, vocab, e) < 0)
        return -1;
    double total = 0, sum = 0;
    for (size_t i = 0; i < vocab; i++)
        total += w->z[i];
    size_t last = 0;
    for (size_t i = 0; i < vocab; i++) {
        if (w->z[i] <= 0)
            continue;
        last = i;
        sum += w->z[i];
        if (sum > u * total)
            break;
    }
    *token = (uint32_t)last;
    *logp = (float)log((double)w->z[last] / total);
    return isfinite(total) ? 0 : not_finite(e);
}

int sampling_draw(struct device *d, const struct sampling *s, const float *logits, size_t vocab,
                  const uint32_t *history, size_t n, struct sampling_work *w, struct rng *rng,
                  uint32_t *token, float *logp, struct err *e)
{
    double u = rng_uniform(rng);
    *logp = 0;
    if (s->temperature == 0)
        return greedy(s, logits, vocab, history, n, w, token, e);
    if (sampling_is_plain(s))
        return draw_plain(d, logits, vocab, w, u, token, logp, e);
    float top;
    size_t kept = sampling_candidates(s, logits, vocab, history, n, w, &top);
    double total = 0, sum = 0;
    for (size_t i = 0; i < kept; i++) {
        double p = exp((double)w->candidate[i].z - top);
        w->z[i] = (float)p; // no longer needed for the logits
        total += p;
    }
    if (!kept || !isfinite(total))
        return not_finite(e);
    size_t chosen = 0;
    for (size_t i = 0; i < kept; i++) {
        if (w->z[i] <= 0)
            continue;
        chosen = i;
        sum += w->z[i];
        if (sum > u * total)
            break;
    }
    *token = w->candidate[chosen].token;
    *logp = (float)((double)w->candidate[chosen].z - top - log(total));
    return 0;
}
