// SPDX-License-Identifier: MIT
// The vocabulary's head as an objective: a loss of lib/loss at the trained tokens'
// log-probabilities, and terms over their whole distributions.
#ifndef TRAIN_TOKEN_OBJECTIVE_H
#define TRAIN_TOKEN_OBJECTIVE_H

#include "infer/exact_terms.h"
#include "infer/scorer.h"
#include "train/trainer.h"

enum normalize { NORMALIZE_TOKENS, NORMALIZE_SEQUENCES, NORMALIZE_CONSTANT };

struct token_objective {
    struct objective objective;
    const struct loss *loss; // borrowed
    // The loss of a step is the sum over its trained positions divided by their number, or by that
    // of sequences, or by that times `constant`. With a loss by sequence it is the sum over
    // sequences divided by the number of those with a trained position, or of pairs, and
    // `normalize` does not count.
    enum normalize normalize;
    double constant;
    float temperature;         // the policy is softmax(logits / temperature); 0: 1
    int entropy;               // also measure the policy's entropy
    struct exact_terms *exact; // what the loss has beside c, or NULL; borrowed
    // Of a loss by sequence: what the step found, each [n] of its examples; there until the next.
    struct scorer scorer;
    struct sequence_sums {
        double *policy, *frozen; // sums of log-probabilities over trained tokens
        double *log_ratio;       // their difference
        double *value, *c;
        size_t n;
    } sums;
    // Of the step.
    struct arena arena; // the sums' too
    double divisor;
    struct loss_stats stats;
    // Of the micro-batch, each [n_wanted].
    float *column[LOSS_COLUMNS_MAX];
    float *weight; // or NULL: 1
    float *value;
    float *given; // of a loss by sequence: c
    float *row_entropy;
    uint32_t *best;
    size_t failed; // the trained token where the loss failed, of those of the micro-batch;
                   // SIZE_MAX: none
};

// By tokens, without terms; the fields above `scorer` may be changed between steps.
void token_objective_init(struct token_objective *t, const struct loss *loss, struct model *m,
                          struct device *device, const struct trainer_options *o);
void token_objective_release(struct token_objective *t);
// What it takes beside trainer_work_bytes.
struct work_bytes token_objective_bytes(const struct loss *loss, const struct device *d,
                                        const struct model *m, const struct pass_size *s);
// What of the loss must be the same when a run goes on; NULL when memory is out.
json_t *token_objective_settings(const struct loss *loss);

#endif
