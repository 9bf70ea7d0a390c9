// SPDX-License-Identifier: MIT
// A run of supervised fine-tuning: epochs over a stream in memory, kept fractions, evaluation,
// exact resume. The model's directory appears when the run is complete; until then PATH.partial
// holds it.
#ifndef LEARN_SFT_H
#define LEARN_SFT_H

#include "learn/trainer.h"

struct sft_options {
    struct trainer_options train;
    const char *model, *device; // directory to start from
    const char *output;         // directory of the result
    const char *tokenizer;      // fingerprint of the model's, or NULL
    const char *metrics;        // file, or NULL
    const char *loss;           // a loss that needs no columns
    const char *keep;           // list of fractions, or NULL
    const char *eval_path;      // stream, or NULL
    int64_t eval_steps;
    double epochs;
    int shuffle, quiet, verbose;
    uint64_t seed;
    int argc; // for provenance
    char **argv;
};

// Reads `input` (NULL: standard input) whole, then trains. STATUS_AGAIN: stopped by a signal, with
// the state saved in PATH.partial.
int sft_run(const struct sft_options *o, const char *input, struct err *e);

#endif
