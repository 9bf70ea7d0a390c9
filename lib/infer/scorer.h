// SPDX-License-Identifier: MIT
// Teacher-forced log-probabilities of given sequences under a model, in packed batches.
#ifndef INFER_SCORER_H
#define INFER_SCORER_H

#include "infer/pass.h"
#include "model/head.h"

// A frozen model beside the one that scores; model == NULL: none.
struct scorer_beside {
    struct model *model;
    struct decoder decoder;
};

struct scorer {
    struct pass pass; // its positions and rope_same_up_to are those of all models
    struct scorer_beside contrast, reference;
    double weight; // of contrast
};

void scorer_init(struct scorer *s, struct model *m, struct device *device);
void scorer_release(struct scorer *s);
// Bytes that scoring takes beside the weights, without other models: as many sequences at a time,
// of so many tokens at most (0: unknown).
struct work_bytes scorer_bytes(const struct device *d, const struct model *m, size_t sequences,
                               size_t longest);
// Scores under softmax(z + weight (z - z_other)) from here on. Models are borrowed.
MUST_CHECK int scorer_contrast(struct scorer *s, struct model *other, double weight, struct err *e);
// The model of head_result's kl and reverse.
MUST_CHECK int scorer_reference(struct scorer *s, struct model *other, struct err *e);
// Scores all wanted positions of the sequences. The arrays of `out` hold the wanted positions of
// sequence 0, then of sequence 1, and so on. A value that is not finite fails with the number of
// its sequence in *where.
MUST_CHECK int scorer_run(struct scorer *s, const struct sequence *sequence, size_t n,
                          const struct head_result *out, size_t *where, struct err *e);

#endif
