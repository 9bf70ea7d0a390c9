// SPDX-License-Identifier: MIT
// The distribution that sampling_draw draws from, by itself.
#ifndef SAMPLING_KIT_H
#define SAMPLING_KIT_H

#include "model/sampling.h"

#include <math.h>
#include <string.h>

// probability [vocab]; 0 where removed.
static inline void sampling_distribution(const struct sampling *s, const float *logits,
                                         size_t vocab, const uint32_t *history, size_t n,
                                         struct sampling_work *w, double *probability)
{
    float top;
    size_t kept = sampling_candidates(s, logits, vocab, history, n, w, &top);
    double total = 0;
    memset(probability, 0, vocab * sizeof *probability);
    for (size_t i = 0; i < kept; i++)
        total += exp((double)w->candidate[i].z - top);
    for (size_t i = 0; i < kept; i++)
        probability[w->candidate[i].token] = exp((double)w->candidate[i].z - top) / total;
}

#endif
