// SPDX-License-Identifier: MIT
// A run of training on pairs of a demonstration and a sample: over a stream in memory, or online
// (pair_online.h).
#ifndef TRAIN_PAIR_TRAIN_H
#define TRAIN_PAIR_TRAIN_H

#include "train/result.h"

struct pair_train_options {
    struct result_options result; // its batch size counts pairs; online 0: as the stream tells
    const char *loss;
    struct loss_parameters parameters;
    const char *reference; // NAME of column logp:NAME, "self", or NULL: the only one
    int online;
};

// Reads `input` (NULL: standard input). STATUS_AGAIN: stopped by a signal, with the state saved.
int pair_train_run(const struct pair_train_options *o, const char *input, struct err *e);

#endif
