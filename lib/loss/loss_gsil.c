// SPDX-License-Identifier: MIT
// GSIL: demonstration and sample told apart by a density-ratio loss (arXiv 2410.10093). With
// s = alpha * log-ratio + offset, of a demonstration (first) and of a sample (second):
//   bernoulli -log sigmoid(s), -log sigmoid(-s);  brier (sigmoid(s) - 1)^2, sigmoid(s)^2;
//   hinge max(0, 1 - s), max(0, 1 + s);  kliep -s, e^s;  lsif -e^s, e^2s / 2
#include "loss/loss.h"

#include <math.h>

// Value and slope of one sequence's term.
typedef double term(double s, int demonstration, double *slope);

static double sigmoid(double x)
{
    return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x));
}

static double bernoulli(double s, int demonstration, double *slope)
{
    double x = demonstration ? s : -s;
    *slope = demonstration ? -sigmoid(-s) : sigmoid(s);
    return log1p(exp(-fabs(x))) + (x < 0 ? -x : 0);
}

static double brier(double s, int demonstration, double *slope)
{
    double p = sigmoid(s), miss = demonstration ? -sigmoid(-s) : p;
    *slope = 2 * miss * p * sigmoid(-s);
    return miss * miss;
}

static double hinge(double s, int demonstration, double *slope)
{
    double slack = demonstration ? 1 - s : 1 + s;
    *slope = slack > 0 ? (demonstration ? -1 : 1) : 0;
    return slack > 0 ? slack : 0;
}

static double kliep(double s, int demonstration, double *slope)
{
    *slope = demonstration ? -1 : exp(s);
    return demonstration ? -s : exp(s);
}

static double lsif(double s, int demonstration, double *slope)
{
    *slope = demonstration ? -exp(s) : exp(2 * s);
    return demonstration ? -exp(s) : exp(2 * s) / 2;
}

static void by_term(term *f, const struct loss_parameters *p, const struct loss_sequences *s,
                    double *value, double *c)
{
    for (size_t i = 0; i < s->n; i++) {
        double slope;
        value[i] =
            f(p->value[LOSS_ALPHA] * s->log_ratio[i] + p->value[LOSS_OFFSET], i % 2 == 0, &slope);
        c[i] = p->value[LOSS_ALPHA] * slope;
    }
}

#define GSIL(NAME, FORMULA)                                                                        \
    static void NAME##_sequences(const struct loss_parameters *p, const struct loss_sequences *s,  \
                                 double *value, double *c, struct loss_stats *stats)               \
    {                                                                                              \
        (void)stats;                                                                               \
        by_term(NAME, p, s, value, c);                                                             \
    }                                                                                              \
    const struct loss_kind loss_gsil_##NAME = {                                                    \
        .name = "gsil-" #NAME,                                                                     \
        .formula = (FORMULA),                                                                      \
        .use = LOSS_ON_PAIRS,                                                                      \
        .columns = {LOSS_REFERENCE},                                                               \
        .sequences = NAME##_sequences,                                                             \
        .takes = {[LOSS_ALPHA] = {0.01, "scale of the log-ratios"},                                \
                  [LOSS_OFFSET] = {2, "added to the scaled log-ratios"}}}

GSIL(bernoulli, "-log sigmoid(s), -log sigmoid(-s) with s = ALPHA log-ratio + OFFSET of the "
                "demonstration and of the sample");
GSIL(brier, "(sigmoid(s) - 1)^2, sigmoid(s)^2");
GSIL(hinge, "max(0, 1 - s), max(0, 1 + s)");
GSIL(kliep, "-s, e^s");
GSIL(lsif, "-e^s, e^(2s) / 2");
