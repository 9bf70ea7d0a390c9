// SPDX-License-Identifier: MIT
// How a training run stays within an amount of memory: as many layers keep their activations as
// there is room for, those of the others are computed again on the way back, to the same bits.
#ifndef TRAIN_BUDGET_H
#define TRAIN_BUDGET_H

#include "infer/pass.h"

// What a run takes, in bytes.
struct budget_job {
    const struct device *device;
    const struct model *model;
    struct pass_size size;    // of the largest micro-batch
    size_t weights;           // of all that is held by weight: see trainer_weight_bytes
    struct work_bytes beside; // what the objective takes, and what else the run computes
};
struct budget {
    size_t layers, kept; // of the model; those whose activations are kept, one at least
    size_t bytes;        // that the run takes so
    int fits;            // within the room; if not, `bytes` is the least that would do
};
// The way to do the job within so much room that takes the least time.
struct budget budget_find(const struct budget_job *job, size_t room);
// "22 of 30 layers kept, 8 recomputed"
enum { BUDGET_TEXT = 96 };
void budget_text(const struct budget *b, char out[BUDGET_TEXT]);

#endif
