// SPDX-License-Identifier: MIT
// A run that trains a reward model on the pairs of a stream in memory.
#ifndef TRAIN_REWARD_TRAIN_H
#define TRAIN_REWARD_TRAIN_H

#include "train/result.h"
#include "train/reward_objective.h"

struct reward_train_options {
    struct result_options result; // batch_size counts pairs; `model`: of either kind; `eval`: pairs
    struct bradley_terry loss;
    int64_t pad; // token that fills batches elsewhere, or -1: see model_save_as_reward
};

// Reads `input` (NULL: standard input) whole, then trains. STATUS_AGAIN: stopped by a signal, with
// the state saved.
int reward_train_run(const struct reward_train_options *o, const char *input, struct err *e);
// The stats of a stream of pairs that has a column `reward`, as one line of JSON in `output`.
int reward_train_measure(const struct bradley_terry *loss, const char *input, const char *output,
                         struct err *e);

#endif
