// SPDX-License-Identifier: MIT
// The metrics of an update on pairs, with the names of TRL's DPOTrainer.
#ifndef TRAIN_PAIR_STATS_H
#define TRAIN_PAIR_STATS_H

#include "train/token_objective.h"
#include <jansson.h>

// Adds rewards/chosen and rewards/rejected (mean over pairs of the scaled gain over the frozen
// model: times beta, for GSIL times alpha), rewards/margins (the difference), rewards/accuracies
// (share of pairs where it is above 0), logps/chosen and logps/rejected (mean sums of
// log-probabilities).
int pair_stats_add(const struct sequence_sums *sums, const struct loss *loss, json_t *line,
                   struct err *e);

#endif
