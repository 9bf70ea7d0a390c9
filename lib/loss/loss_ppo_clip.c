// SPDX-License-Identifier: MIT
// The clipped policy loss: -min(u A, clip(u, 1 - cliprange, 1 + cliprange) A) with the ratio
// u = exp(lp - lp_rollout) (Schulman et al., "Proximal policy optimization algorithms", Eq. 7).
#include "loss/loss.h"

#include <math.h>

static void ppo_clip(const struct loss_parameters *p, const struct loss_tokens *t, float *value,
                     float *c, struct loss_stats *stats)
{
    const float *advantage = t->column[0], *old = t->column[1];
    double low = 1 - p->value[LOSS_CLIPRANGE], high = 1 + p->value[LOSS_CLIPRANGE];
    for (size_t i = 0; i < t->n; i++) {
        double a = advantage[i];
        double u = exp((double)t->lp[i] - (double)old[i]);
        // The minimum takes the clipped side only where the step would go further out.
        int clipped = a < 0 ? u < low : a > 0 && u > high;
        double bounded = u < low ? low : high;
        value[i] = (float)-(clipped ? bounded * a : u * a);
        c[i] = (float)(clipped ? 0 : -u * a);
        stats->clipped += clipped;
    }
}

const struct loss_kind loss_ppo_clip = {
    .name = "ppo-clip",
    .formula = "-min(u A, clip(u) A) with u = exp(lp - logp:rollout)",
    .use = LOSS_ON_ADVANTAGES,
    .columns = {"advantage", "logp:rollout"},
    .pointwise = ppo_clip,
    .clips = 1,
    .takes = {[LOSS_CLIPRANGE] = {0.2, "u counts in 1-X .. 1+X"}}};
