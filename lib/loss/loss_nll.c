// SPDX-License-Identifier: MIT
// Token negative log-likelihood: -lp.
#include "loss/loss.h"

static void nll(const struct loss_parameters *p, const struct loss_tokens *t, float *value,
                float *c, struct loss_stats *stats)
{
    (void)p;
    (void)stats;
    for (size_t i = 0; i < t->n; i++) {
        value[i] = -t->lp[i];
        c[i] = -1;
    }
}

const struct loss_kind loss_nll = {.name = "nll",
                                   .formula = "the negative log-likelihood -lp",
                                   .use = LOSS_ON_DEMONSTRATIONS,
                                   .pointwise = nll};
