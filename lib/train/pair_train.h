// SPDX-License-Identifier: MIT
// A run of training on pairs, a demonstration and a sample each: a course over a stream in memory,
// or, on-line, an update a batch of pairs as they come, and a generation an update.
#ifndef TRAIN_PAIR_TRAIN_H
#define TRAIN_PAIR_TRAIN_H

#include "train/offline.h"

struct pair_train_options {
    struct course_options course; // its batch size counts pairs
    const char *loss;
    const char *reference; // NAME of column logp:NAME, "self", or NULL: the only one
    double beta, alpha, offset;
    int online;
    int batch_given; // the batch size counts; otherwise, on-line, the stream's header may tell
};

// Reads `input` (NULL: standard input). STATUS_AGAIN: stopped by a signal, with the state saved.
int pair_train_run(const struct pair_train_options *o, const char *input, struct err *e);

#endif
