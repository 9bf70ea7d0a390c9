// SPDX-License-Identifier: MIT
// Demonstration against sample: with D the demonstration's log-ratio to the frozen model minus the
// sample's, logistic -log sigmoid(beta D) and hinge max(0, 1 - beta D) (SPIN, arXiv 2401.01335;
// IRFT, arXiv 2405.17888, Algorithm 2). A pair's value stands at its demonstration.
#include "loss/loss.h"

#include <math.h>

static void logistic(const struct loss_parameters *p, const struct loss_sequences *s, double *value,
                     double *c, struct loss_stats *stats)
{
    (void)stats;
    double beta = p->value[LOSS_BETA];
    for (size_t i = 0; i + 1 < s->n; i += 2) {
        double x = beta * (s->log_ratio[i] - s->log_ratio[i + 1]), small = exp(-fabs(x));
        value[i] = log1p(small) + (x < 0 ? -x : 0);
        value[i + 1] = 0;
        c[i] = -beta * (x < 0 ? 1 : small) / (1 + small);
        c[i + 1] = -c[i];
    }
}

static void hinge(const struct loss_parameters *p, const struct loss_sequences *s, double *value,
                  double *c, struct loss_stats *stats)
{
    double beta = p->value[LOSS_BETA];
    for (size_t i = 0; i + 1 < s->n; i += 2) {
        double slack = 1 - beta * (s->log_ratio[i] - s->log_ratio[i + 1]);
        value[i] = slack > 0 ? slack : 0;
        value[i + 1] = 0;
        c[i] = slack > 0 ? -beta : 0;
        c[i + 1] = -c[i];
        stats->clipped += slack > 0 ? 0 : 2;
    }
}

static const char scale[] = "scale of the difference of log-ratios";

const struct loss_kind loss_logistic = {
    .name = "logistic",
    .formula = "-log sigmoid(BETA D) with D the demonstration's log-ratio (lp - lp_reference, "
               "summed) minus the sample's",
    .use = LOSS_ON_PAIRS,
    .columns = {LOSS_REFERENCE},
    .sequences = logistic,
    .takes = {[LOSS_BETA] = {0.1, scale}}};
const struct loss_kind loss_hinge = {.name = "hinge",
                                     .formula = "max(0, 1 - BETA D)",
                                     .use = LOSS_ON_PAIRS,
                                     .columns = {LOSS_REFERENCE},
                                     .sequences = hinge,
                                     .takes = {[LOSS_BETA] = {0.1, scale}}};
