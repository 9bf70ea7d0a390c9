// SPDX-License-Identifier: MIT
// Teacher-forced log-probabilities of given sequences under a model, in packed batches.
#ifndef LEARN_SCORER_H
#define LEARN_SCORER_H

#include "model/head.h"

struct scorer {
    struct model *model;
    struct device *device;
    struct decoder decoder;
    struct arena arena;
    size_t batch_tokens; // packed at a time; a longer sequence goes alone
};

void scorer_init(struct scorer *s, struct model *m, struct device *device);
void scorer_release(struct scorer *s);
// Scores all wanted positions of the sequences. The arrays of `out` hold the wanted positions of
// sequence 0, then of sequence 1, and so on. A value that is not finite fails with the number of
// its sequence in *where.
int scorer_run(struct scorer *s, const struct sequence *sequence, size_t n,
               const struct head_result *out, size_t *where, struct err *e);

#endif
