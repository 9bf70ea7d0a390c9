// SPDX-License-Identifier: MIT
#include "loss/loss.h"

#include <math.h>

const char *const kl_estimators[] = {"k3", "k1", "k2", NULL};

double loss_kl_add(enum kl_estimator estimator, double coefficient, const struct loss_tokens *t,
                   const float *reference, float *value, float *c)
{
    double sum = 0;
    for (size_t i = 0; i < t->n; i++) {
        double d = (double)t->lp[i] - (double)reference[i];
        double weight = t->weight ? (double)t->weight[i] : 1;
        double minus = expm1(-d); // e^-d - 1, exact near 0 too
        double estimate = estimator == KL_K1 ? d : estimator == KL_K2 ? d * d / 2 : minus + d;
        double slope = estimator == KL_K1 ? 1 : estimator == KL_K2 ? d : -minus;
        value[i] += (float)(weight * coefficient * estimate);
        c[i] += (float)(weight * coefficient * slope);
        sum += weight * estimate;
    }
    return sum;
}
