// SPDX-License-Identifier: MIT
// One update of a reward model from pairs, and the same stats without an update.
#ifndef TRAIN_REWARD_STEP_H
#define TRAIN_REWARD_STEP_H

#include "loss/bradley_terry.h"
#include "train/pairs.h"
#include "train/trainer.h"

// Of some pairs. `accuracy` and `margin` compare the rewards at the last tokens; the aligned ones
// the mean rewards over the positions that the loss compares.
struct reward_stats {
    double loss;
    double accuracy, margin;                 // share of pairs with the preferred one above; mean
    double aligned_accuracy, aligned_margin; // difference
    size_t pairs, positions;
};

// One update from n pairs (indices into `example`), all positions of which count as one batch.
// Fails without touching the weights when loss or gradient is not finite.
int reward_step(struct trainer *t, const struct example *example, const struct pair *pair, size_t n,
                const struct bradley_terry *loss, struct step_report *report,
                struct reward_stats *stats, struct err *e);
// The stats of given rewards, those of the trained tokens of example i from reward[first[i]] on.
int reward_measure(const struct example *example, const struct pair *pair, size_t n,
                   const struct bradley_terry *loss, const float *reward, const size_t *first,
                   struct reward_stats *stats, struct err *e);

#endif
