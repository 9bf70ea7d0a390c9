// SPDX-License-Identifier: MIT
// Dynamic fine-tuning: -p lp with p = exp(lp) held fixed, so that a token counts as much as the
// model believes in it ("On the generalization of SFT", arXiv 2508.05629).
#include "loss/loss.h"

#include <math.h>

static void dft(const struct loss_parameters *p, const struct loss_tokens *t, float *value,
                float *c, struct loss_stats *stats)
{
    (void)p;
    (void)stats;
    for (size_t i = 0; i < t->n; i++) {
        float weight = expf(t->lp[i]);
        value[i] = -weight * t->lp[i];
        c[i] = -weight;
    }
}

const struct loss_kind loss_dft = {.name = "dft",
                                   .formula = "-p lp, weighted by the token's own probability p",
                                   .use = LOSS_ON_DEMONSTRATIONS,
                                   .pointwise = dft};
