// SPDX-License-Identifier: MIT
#include "learn/loss.h"

#include <math.h>

double loss_kl_add(double coefficient, size_t n, const float *lp, const float *reference,
                   float *value, float *c)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)lp[i] - (double)reference[i];
        double minus = expm1(-d); // e^-d - 1, exact near 0 too
        value[i] += (float)(coefficient * (minus + d));
        c[i] -= (float)(coefficient * minus);
        sum += minus + d;
    }
    return sum;
}
