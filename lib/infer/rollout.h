// SPDX-License-Identifier: MIT
// A sampling run: reads prompts and writes samples, from a fixed policy or from one in training, in
// order, one step at a time.
#ifndef INFER_ROLLOUT_H
#define INFER_ROLLOUT_H

#include "infer/draw.h"

// What the run must know of text, without the room below it knowing any.
struct rollout_text {
    // Fingerprint of the tokenizer in a model's directory; *found = 0 without one.
    int (*fingerprint)(const char *directory, char out[24], int *found, struct err *e);
    draw_token_id *token_id;
};

enum { ROLLOUT_SLOTS = 128 }; // the default
struct rollout_options {
    struct draw_options draw;
    int64_t batch_size; // prompts a step
    int64_t first_step; // number of the first, with neither steps nor follow
    int64_t slots;      // samples in flight
    int64_t steps;      // until this step, prompts started over; 0: each prompt once
    int64_t lag;        // 0 or 1, with follow
    int follow;
    int verbose;
    const char *model, *device;
    enum products products;
    const char *output;   // stream, NULL: standard output
    const char *as;       // also write logp:NAME, what logprob would add under the model; or NULL
    const char *contrast; // "DIR:A" or NULL
    const struct rollout_text *text;
    uint64_t seed;
    int argc; // for provenance
    char **argv;
};

// Reads prompts from `input` (NULL: standard input) to their proven end.
MUST_CHECK int rollout_run(const struct rollout_options *o, const char *input, struct err *e);

#endif
