// SPDX-License-Identifier: MIT
// --keep: fractions of a run's training samples at which the model is kept.
#ifndef TRAIN_KEEP_H
#define TRAIN_KEEP_H

#include "base/error.h"
#include <stdint.h>

enum { KEEP_MAX = 32, KEEP_NAME_MAX = 24 };
struct keep {
    struct {
        char name[KEEP_NAME_MAX]; // as given: the kept model is OUT/NAME
        double fraction;
    } at[KEEP_MAX];
    int n;
};

// Parses "half,0.25,0.75"; NULL: none.
int keep_parse(struct keep *k, const char *text, struct err *e);
// After how many of `total` samples item i falls due.
double keep_sample(const struct keep *k, int i, uint64_t total);
// Whether item i falls due between `before` samples and `after`, of `total`.
int keep_due(const struct keep *k, int i, uint64_t before, uint64_t after, uint64_t total);

#endif
