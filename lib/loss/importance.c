// SPDX-License-Identifier: MIT
#include "loss/importance.h"

#include <math.h>

const char *const importance_levels[] = {"refuse", "none", "token", "sequence", NULL};
const char *const importance_modes[] = {"truncate", "mask", NULL};

// Of the logarithm of a ratio.
static double bounded(const struct importance *w, double log_ratio, struct importance_stats *stats)
{
    double ratio = exp(log_ratio);
    int low = ratio < w->low;
    int high = ratio > w->high;
    stats->ratios++;
    stats->outside += (size_t)(low || high);
    if (w->mode == IMPORTANCE_MASK)
        return low || high ? 0 : ratio;
    return low ? w->low : high ? w->high : ratio;
}

// Whether token i was drawn and is trained; *d: the logarithm of its ratio.
static int counts(const uint8_t *mask, const float *policy, const float *sampler, size_t i,
                  double *d)
{
    if (!i || !mask[i])
        return 0;
    *d = (double)policy[i] - (double)sampler[i];
    return isfinite(*d);
}

void importance_weigh(const struct importance *w, size_t n, const uint8_t *mask,
                      const float *policy, const float *sampler, float *weight,
                      struct importance_stats *stats)
{
    double sum = 0, d, shared = 1;
    size_t drawn = 0;
    for (size_t i = 0; i < n; i++) {
        if (!counts(mask, policy, sampler, i, &d))
            continue;
        stats->difference += fabs(d);
        stats->kl -= d;
        sum += d;
        drawn++;
    }
    stats->tokens += drawn;
    if (w->level < IMPORTANCE_TOKEN)
        return;
    if (w->level == IMPORTANCE_SEQUENCE && drawn)
        shared = bounded(w, sum, stats);
    for (size_t i = 0; i < n; i++) {
        weight[i] = 1;
        if (!counts(mask, policy, sampler, i, &d))
            continue;
        weight[i] = (float)(w->level == IMPORTANCE_SEQUENCE ? shared : bounded(w, d, stats));
        stats->weight += (double)weight[i];
    }
}
