// SPDX-License-Identifier: MIT
// One reward a position as an objective: the Bradley-Terry loss of pairs of completions. Its stats
// may be had without an update.
#ifndef TRAIN_REWARD_OBJECTIVE_H
#define TRAIN_REWARD_OBJECTIVE_H

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

// A step's examples are pairs: 2k is what is preferred, 2k + 1 the other one.
struct reward_objective {
    struct objective objective;
    const struct bradley_terry *loss; // borrowed
    struct reward_stats stats;        // of the last step
    struct arena arena;               // of one pair
    double divisor;                   // of the step
};

void reward_objective_init(struct reward_objective *r, const struct bradley_terry *loss);
void reward_objective_release(struct reward_objective *r);
// Adds stats to a line of metrics, their names after `prefix`; `with_loss`: where the line does not
// have the loss from elsewhere.
void reward_stats_add(const struct reward_stats *f, json_t *line, const char *prefix,
                      int with_loss);
// The stats of given rewards, those of the trained tokens of example i from reward[first[i]] on.
int reward_measure(const struct trainer_example *example, const struct pair *pair, size_t n,
                   const struct bradley_terry *loss, const float *reward, const size_t *first,
                   struct reward_stats *stats, struct err *e);

#endif
