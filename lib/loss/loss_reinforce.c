// SPDX-License-Identifier: MIT
// REINFORCE: -A lp, with the advantage A of each token held fixed (Williams, 1992).
#include "loss/loss.h"

static void reinforce(const struct loss_parameters *p, const struct loss_tokens *t, float *value,
                      float *c, struct loss_stats *stats)
{
    (void)p;
    (void)stats;
    const float *advantage = t->column[0];
    for (size_t i = 0; i < t->n; i++) {
        value[i] = -advantage[i] * t->lp[i];
        c[i] = -advantage[i];
    }
}

const struct loss_kind loss_reinforce = {.name = "reinforce",
                                         .formula = "-A lp with the advantage A",
                                         .use = LOSS_ON_ADVANTAGES,
                                         .columns = {"advantage"},
                                         .pointwise = reinforce};
