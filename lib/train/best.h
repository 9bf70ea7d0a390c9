// SPDX-License-Identifier: MIT
// The best of a run's evaluations: how long ago it was, and, where the run is to end with it, its
// model, which waits in OUT.partial. A state refers to the best as it was then, so there are two
// places for it: the one that the last state refers to is not touched until the next is saved. A
// run that is killed at any instant finds what its state says.
#ifndef TRAIN_BEST_H
#define TRAIN_BEST_H

#include "base/error.h"
#include <jansson.h>
#include <stdint.h>

struct best_options {
    int64_t patience;    // stop after so many evaluations in a row without an improvement; 0: never
    double threshold;    // what is better by no more than this is no improvement
    int load;            // the result is the model of the best evaluation
    const char *metric;  // by which it is judged
    int threshold_given; // on the command line, for best_check
    int metric_given;
};
// The model is the best one, or the run may end before its last update.
int best_watches(const struct best_options *o);
// What the options need of each other and of the evaluations, which come every eval_steps updates
// (0: at the end alone) on `eval_path` (NULL: never).
MUST_CHECK int best_check(const struct best_options *o, const char *eval_path, int64_t eval_steps,
                          struct err *e);

extern const char *const best_places[]; // in OUT.partial, NULL at the end

struct best {
    double value, last; // of the metric: the best one; that of the last evaluation
    int64_t step;       // the update of the best; -1: there was none
    int64_t without;    // evaluations since that were no improvement
    double loss;        // of that update, in training; NAN: it is update 0
    uint64_t num_tokens;
    int place, saved; // of best_places: the best's model; that of the last state. -1: none
};

void best_init(struct best *b);
// An evaluation, `step` updates after the start: 1 if it is the best so far. As transformers has
// it, every smaller loss (or larger other metric) is the new best, but only one that is better by
// more than the threshold begins the count anew.
int best_see(struct best *b, const struct best_options *o, double value, int64_t step);
// Whether patience has come to its end.
int best_is_over(const struct best *b, const struct best_options *o);

// A new, empty place in the directory `at`: its descriptor, or -1.
MUST_CHECK int best_begin(struct best *b, int at, struct err *e);
// A state that tells of this best is on the disk: the other place has no more use.
MUST_CHECK int best_was_saved(struct best *b, int at, struct err *e);
// Without the model: the best is that of the last update, which has no need of it.
void best_forget_place(struct best *b);
// The best's files, but for its note and its card, become those of the directory `at` as well.
MUST_CHECK int best_install(const struct best *b, int at, struct err *e);

// For the state: with the sums of the files. NULL: *e.
json_t *best_to_json(const struct best *b, int at, struct err *e);
// Takes it back, if `then` has it and the files are what they were.
MUST_CHECK int best_from_json(struct best *b, const json_t *then, int at, struct err *e);

#endif
