// SPDX-License-Identifier: MIT
// Several models together: differences, and averages with any weights.
#ifndef MODEL_COMPARE_H
#define MODEL_COMPARE_H

#include "model/model.h"

struct tensor_difference {
    const char *name;
    double absolute; // largest |a - b|
    double relative; // largest |a - b| / max(|a|, |b|)
};
// Compares parameter i of `a` with the one of the same name in `b`; values that are not numbers
// differ infinitely.
MUST_CHECK int model_difference(const struct model *a, const struct model *b, size_t i,
                                struct tensor_difference *out, struct err *e);
// Sets m's masters to sum over k of weight[k] * other[k].
MUST_CHECK int model_combine(struct model *m, struct model *const *other, const double *weight,
                             size_t n, struct err *e);

#endif
