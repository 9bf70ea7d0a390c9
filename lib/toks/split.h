// SPDX-License-Identifier: MIT
// Splits one stream into several: toks split.
#ifndef TOKS_SPLIT_H
#define TOKS_SPLIT_H

#include "stream/filter.h"

enum { SPLIT_PARTS_MAX = 1000 };

// Exactly one of these says where to cut.
struct split {
    uint64_t parts;         // so many, of equal size
    uint64_t sequences;     // after every so many records
    const double *fraction; // [n_fractions], adding up to 1
    int n_fractions;
};

// Writes PREFIX.000.toks, PREFIX.001.toks ...; none appears unless all are complete.
MUST_CHECK int split_run(const struct split *how, const char *input, const char *prefix,
                         int *n_written, struct err *e);
// "0.9,0.1": parts that add up to 1. Returns how many, or -1.
int split_fractions(const char *text, double *fraction, int limit);

#endif
