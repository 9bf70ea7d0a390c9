// SPDX-License-Identifier: MIT
#include "train/pair_stats.h"

int pair_stats_add(const struct sequence_sums *sums, const struct loss *loss, json_t *line,
                   struct err *e)
{
    const struct loss_parameters *p = &loss->parameters;
    double scale = p->value[loss->kind->takes[LOSS_ALPHA].help ? LOSS_ALPHA : LOSS_BETA];
    double log_ratio[2] = {0}, logp[2] = {0}, n = 0.5 * (double)sums->n, right = 0;
    for (size_t i = 0; i < sums->n; i++) {
        log_ratio[i % 2] += sums->log_ratio[i] / n;
        logp[i % 2] += sums->policy[i] / n;
        right += i % 2 && sums->log_ratio[i - 1] > sums->log_ratio[i];
    }
    json_t *more =
        json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "rewards/chosen", scale * log_ratio[0],
                  "rewards/rejected", scale * log_ratio[1], "rewards/accuracies", right / n,
                  "rewards/margins", scale * (log_ratio[0] - log_ratio[1]), "logps/chosen", logp[0],
                  "logps/rejected", logp[1]);
    int result = more ? json_object_update(line, more) : -1;
    json_decref(more);
    return result < 0 ? err_memory(e, 0, "metrics") : 0;
}
