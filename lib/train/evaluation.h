// SPDX-License-Identifier: MIT
// When a run is measured on a held-out stream, and that measurement on demonstrations: the mean
// negative log-likelihood of the trained tokens, at temperature 1, and how many of them the model
// thinks the most likely.
#ifndef TRAIN_EVALUATION_H
#define TRAIN_EVALUATION_H

#include "infer/scorer.h"
#include "train/dataset.h"

struct evaluation_options {
    const char *path; // stream, or NULL: never
    int64_t steps;    // every so many updates and at the end; 0: at the end alone
    int on_start;     // before the first update, too
};
// Whether the model after `step` updates is to be measured; last: there will be no more.
int evaluation_due(const struct evaluation_options *o, int64_t step, int last);
// What of the options goes without a stream: *e, or 0.
MUST_CHECK int evaluation_check(const struct evaluation_options *o, struct err *e);

struct evaluation {
    const char *path;
    struct dataset data;
    struct scorer scorer;
    double loss, accuracy; // of the last one; NAN: there was none
};
// Reads the stream whole. tokenizer: fingerprint that it must have, or NULL. The model is borrowed.
MUST_CHECK int evaluation_open(struct evaluation *v, const char *path, struct model *m,
                               struct device *device, const char *tokenizer, struct err *e);
void evaluation_release(struct evaluation *v); // fine for zeros
// Bytes that it takes beside the data and the weights.
struct work_bytes evaluation_bytes(const struct evaluation *v, const struct device *d,
                                   const struct model *m);
// Measures the model, and adds eval_loss and eval_mean_token_accuracy to a line of metrics.
MUST_CHECK int evaluation_run(struct evaluation *v, json_t *line, struct err *e);

#endif
