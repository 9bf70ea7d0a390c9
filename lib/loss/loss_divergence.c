// SPDX-License-Identifier: MIT
// Supervised training under an f-divergence: g(rho) with rho = beta (lp - lp_reference), of each
// token or of a sequence's sums ("Implicit reward as the bridge", arXiv 2507.00018; the functions
// are those of IQ-Learn, arXiv 2106.12142):
//   tv -rho,  chi2 -rho + rho^2 / (4 alpha),  hellinger -rho / (1 + rho),
//   js -log(2 - e^-rho),  kl e^(-rho - 1)
//
// Towards negative rho the last three grow without bound; hellinger ends at rho = -1 and js at
// -log 2. Where their slope reaches -100 they go on as the straight line that touches them there.
// The loss stays convex, and the token that the policy has lost most is still pushed hardest; but
// one token that both models find next to impossible can neither end a run nor outweigh a batch
// without limit. Those on the line are counted in stats->clipped.
#include "loss/loss.h"

#include <math.h>

static const double steepest = 100;

// Value and slope of one function at rho >= its `last`.
typedef double divergence(double rho, double alpha, double *slope);

static double tv(double rho, double alpha, double *slope)
{
    (void)alpha;
    *slope = -1;
    return -rho;
}

static double chi2(double rho, double alpha, double *slope)
{
    *slope = -1 + rho / (2 * alpha);
    return -rho + rho * rho / (4 * alpha);
}

static double hellinger(double rho, double alpha, double *slope)
{
    (void)alpha;
    *slope = -1 / ((1 + rho) * (1 + rho));
    return -rho / (1 + rho);
}

static double js(double rho, double alpha, double *slope)
{
    (void)alpha;
    double minus = expm1(-rho); // 2 - e^-rho = 1 - minus
    *slope = -(1 + minus) / (1 - minus);
    return -log1p(-minus);
}

static double kl(double rho, double alpha, double *slope)
{
    (void)alpha;
    double value = exp(-rho - 1);
    *slope = -value;
    return value;
}

static double bounded(divergence *g, double last, double rho, double alpha, double *slope,
                      struct loss_stats *stats)
{
    if (!(rho < last))
        return g(rho, alpha, slope);
    stats->clipped++;
    double value = g(last, alpha, slope);
    return value + (rho - last) * *slope;
}

static void by_token(divergence *g, double last, const struct loss_parameters *p,
                     const struct loss_tokens *t, float *value, float *c, struct loss_stats *stats)
{
    const float *reference = t->column[0];
    for (size_t i = 0; i < t->n; i++) {
        double slope, rho = p->value[LOSS_BETA] * ((double)t->lp[i] - (double)reference[i]);
        value[i] = (float)bounded(g, last, rho, p->value[LOSS_ALPHA], &slope, stats);
        c[i] = (float)(p->value[LOSS_BETA] * slope);
    }
}

static void by_sequence(divergence *g, double last, const struct loss_parameters *p,
                        const struct loss_sequences *s, double *value, double *c,
                        struct loss_stats *stats)
{
    for (size_t i = 0; i < s->n; i++) {
        double slope;
        value[i] = bounded(g, last, p->value[LOSS_BETA] * s->log_ratio[i], p->value[LOSS_ALPHA],
                           &slope, stats);
        c[i] = p->value[LOSS_BETA] * slope;
    }
}

// LAST: where the slope is -steepest; -INFINITY where the function needs no bound. Behind the
// formula: what alpha is.
#define DIVERGENCE(NAME, LAST, FORMULA, ...)                                                       \
    static void NAME##_tokens(const struct loss_parameters *p, const struct loss_tokens *t,        \
                              float *value, float *c, struct loss_stats *stats)                    \
    {                                                                                              \
        by_token(NAME, LAST, p, t, value, c, stats);                                               \
    }                                                                                              \
    static void NAME##_sequences(const struct loss_parameters *p, const struct loss_sequences *s,  \
                                 double *value, double *c, struct loss_stats *stats)               \
    {                                                                                              \
        by_sequence(NAME, LAST, p, s, value, c, stats);                                            \
    }                                                                                              \
    const struct loss_kind loss_##NAME = {                                                         \
        .name = #NAME,                                                                             \
        .formula = (FORMULA),                                                                      \
        .use = LOSS_ON_DEMONSTRATIONS,                                                             \
        .columns = {LOSS_REFERENCE},                                                               \
        .pointwise = NAME##_tokens,                                                                \
        .sequences = NAME##_sequences,                                                             \
        .clips = 1,                                                                                \
        .takes = {[LOSS_BETA] = {0.1, "scale of rho"}, [LOSS_ALPHA] = {__VA_ARGS__}}}

DIVERGENCE(tv, -INFINITY, "-rho with the f-divergences' rho = BETA (lp - lp_reference)", 0, NULL);
DIVERGENCE(chi2, -INFINITY, "-rho + rho^2 / (4 ALPHA)", 0.5, "of the formula");
DIVERGENCE(hellinger, 1 / sqrt(steepest) - 1, "-rho / (1 + rho)", 0, NULL);
DIVERGENCE(js, -log(2 * steepest / (1 + steepest)), "-log(2 - e^-rho)", 0, NULL);
DIVERGENCE(kl, -1 - log(steepest), "e^(-rho - 1)", 0, NULL);
