// SPDX-License-Identifier: MIT
// How far a state is from those of the demonstrations, by random network distillation (after
// ReLOAD, arXiv 2507.12815). A random, untrained target maps a state x of a model to features
// tanh(W x / rms(x) + c); a predictor, linear in x / rms(x), is fitted to it on the demonstrations'
// states by least squares. Where the two differ, the state is unlike those.
#ifndef REWARD_NOVELTY_H
#define REWARD_NOVELTY_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

struct novelty {
    size_t width, features;
    float *target;   // [features, width + 1]: W and c
    double *gram;    // [width + 1, width + 1]: sums over the states that were added
    double *fit;     // [width + 1, features]: sums, then the predictor
    double *input;   // [width + 1]: one state and 1
    double *feature; // [features]
    uint64_t n;      // states added
};

// width: numbers of a state. The seed decides the target.
MUST_CHECK int novelty_init(struct novelty *v, size_t width, size_t features, uint64_t seed,
                            struct err *e);
void novelty_release(struct novelty *v);
void novelty_add(struct novelty *v, const float *state);
// Ends the fit; `ridge` times the mean of the Gram matrix's diagonal is added to it.
MUST_CHECK int novelty_fit(struct novelty *v, double ridge, struct err *e);
// Mean over the features of (predictor - target)^2. After novelty_fit.
double novelty_error(const struct novelty *v, const float *state);
// Bytes that novelty_init takes.
size_t novelty_bytes(size_t width, size_t features);

#endif
