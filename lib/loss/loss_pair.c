// SPDX-License-Identifier: MIT
// Demonstration against sample: with D the demonstration's gain over the frozen model minus the
// sample's, logistic -log sigmoid(beta D) and hinge max(0, 1 - beta D) (SPIN, arXiv 2401.01335;
// IRFT, arXiv 2405.17888, Algorithm 2). A pair's value stands at its demonstration.
#include "loss/loss.h"

#include <math.h>

static void logistic(const struct loss_parameters *p, const struct loss_sequences *s, double *value,
                     double *c, struct loss_stats *stats)
{
    (void)stats;
    for (size_t i = 0; i + 1 < s->n; i += 2) {
        double x = p->beta * (s->log_ratio[i] - s->log_ratio[i + 1]), small = exp(-fabs(x));
        value[i] = log1p(small) + (x < 0 ? -x : 0);
        value[i + 1] = 0;
        c[i] = -p->beta * (x < 0 ? 1 : small) / (1 + small);
        c[i + 1] = -c[i];
    }
}

static void hinge(const struct loss_parameters *p, const struct loss_sequences *s, double *value,
                  double *c, struct loss_stats *stats)
{
    for (size_t i = 0; i + 1 < s->n; i += 2) {
        double slack = 1 - p->beta * (s->log_ratio[i] - s->log_ratio[i + 1]);
        value[i] = slack > 0 ? slack : 0;
        value[i + 1] = 0;
        c[i] = slack > 0 ? -p->beta : 0;
        c[i + 1] = -c[i];
        stats->clipped += slack > 0 ? 0 : 2;
    }
}

const struct loss_kind loss_logistic = {
    .name = "logistic", .columns = {LOSS_REFERENCE}, .sequences = logistic, .pairs = 1};
const struct loss_kind loss_hinge = {
    .name = "hinge", .columns = {LOSS_REFERENCE}, .sequences = hinge, .pairs = 1};
