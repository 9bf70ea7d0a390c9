// SPDX-License-Identifier: MIT
#include "loss/bradley_terry.h"

#include <assert.h>
#include <math.h>
#include <string.h>

const char *const bradley_terry_pads[] = {"hold", "zero", "shorter", NULL};
const char *const bradley_terry_levels[] = {"token", "sequence", NULL};
const char *const bradley_terry_reductions[] = {"tokens", "pairs", NULL};

struct alignment bradley_terry_align(const struct bradley_terry *b, const uint32_t *preferred,
                                     size_t n_preferred, const uint32_t *other, size_t n_other)
{
    assert(n_preferred >= 1 && n_other >= 1);
    size_t shorter = n_preferred < n_other ? n_preferred : n_other;
    size_t longer = n_preferred < n_other ? n_other : n_preferred, first = 0;
    if (b->level == LEVEL_SEQUENCE) // the last tokens, wherever they are: see place
        return (struct alignment){longer - 1, longer};
    while (first < shorter && preferred[first] == other[first])
        first++;
    if (first == longer)
        first--;
    size_t end = b->pad == PAD_SHORTER ? shorter : longer;
    return (struct alignment){first, end > first ? end : first + 1};
}

double bradley_terry_weight(const struct bradley_terry *b, struct alignment a)
{
    return b->reduction == REDUCTION_TOKENS ? (double)(a.end - a.first) : 1;
}

// Whose reward counts at position t: the index, or n where none does.
static size_t place(const struct bradley_terry *b, const struct completion *c, size_t t)
{
    if (t < c->n)
        return t;
    return b->level == LEVEL_TOKEN && b->pad == PAD_ZERO ? c->n : c->n - 1;
}

static double reward_at(const struct completion *c, size_t at)
{
    return at < c->n ? (double)c->reward[at] : 0;
}

double bradley_terry_loss(const struct bradley_terry *b, struct alignment a, double scale,
                          const struct completion *preferred, const struct completion *other)
{
    assert(a.first < a.end && preferred->n >= 1 && other->n >= 1);
    double sum = 0, held_preferred = 0, held_other = 0;
    if (b->reduction == REDUCTION_PAIRS)
        scale /= (double)(a.end - a.first);
    memset(preferred->gradient, 0, preferred->n * sizeof(float));
    memset(other->gradient, 0, other->n * sizeof(float));
    for (size_t t = a.first; t < a.end; t++) {
        size_t p = place(b, preferred, t), o = place(b, other, t);
        double d = reward_at(preferred, p) - reward_at(other, o);
        sum += d > 0 ? log1p(exp(-d)) : log1p(exp(d)) - d;
        double slope = -scale / (1 + exp(d));
        // The last token may stand for many positions: its gradient is added up in double.
        if (p + 1 == preferred->n)
            preferred->gradient[p] = (float)(held_preferred += slope);
        else if (p < preferred->n)
            preferred->gradient[p] = (float)slope;
        if (o + 1 == other->n)
            other->gradient[o] = (float)(held_other -= slope);
        else if (o < other->n)
            other->gradient[o] = (float)-slope;
    }
    return sum * scale;
}

double bradley_terry_margin(const struct bradley_terry *b, struct alignment a,
                            const struct completion *preferred, const struct completion *other)
{
    assert(a.first < a.end && preferred->n >= 1 && other->n >= 1);
    double sum = 0;
    for (size_t t = a.first; t < a.end; t++)
        sum += reward_at(preferred, place(b, preferred, t)) - reward_at(other, place(b, other, t));
    return sum / (double)(a.end - a.first);
}
