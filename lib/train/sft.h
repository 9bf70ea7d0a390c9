// SPDX-License-Identifier: MIT
// A run of supervised fine-tuning over a stream in memory, with evaluation.
#ifndef TRAIN_SFT_H
#define TRAIN_SFT_H

#include "train/result.h"

struct sft_options {
    struct result_options result;
    const char *loss;
    const char *reference; // NAME of column logp:NAME for losses that need it; NULL: the only one
    int per_sequence;
    struct loss_parameters parameters;
};

// Reads `input` (NULL: standard input) whole, then trains. STATUS_AGAIN: stopped by a signal, with
// the state saved in PATH.partial.
int sft_run(const struct sft_options *o, const char *input, struct err *e);

#endif
