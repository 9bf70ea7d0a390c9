// SPDX-License-Identifier: MIT
// A run over data in memory whose result is one model: epochs, kept fractions, an average of the
// weights, a state from which to continue exactly. The model directory appears when the run is
// complete; until then it is PATH.partial.
//
//   result_open(&r, &options, "sft-train", 0, &e);      // the model is there
//   result_begin(&r, &plan, &e);                        // PATH.partial is there
//   result_train(&r, objective, bytes, &e);
//   result_close(&r, failed);
#ifndef TRAIN_RESULT_H
#define TRAIN_RESULT_H

#include "train/best.h"
#include "train/evaluation.h"
#include "train/keep.h"
#include "train/offline.h"
#include "train/run.h"

enum { RESULT_BATCH = 8 }; // the default of batch_size: sequences, or pairs, per update
struct result_options {
    struct run_options run;
    const char *keep; // list of fractions, or NULL
    struct evaluation_options eval;
    struct best_options best; // by the metrics of the evaluations
    double epochs;
    int shuffle;
};

// What the program knows of its data and its loss.
struct result_plan {
    struct dataset *data;    // its stream gets this run's provenance. Borrowed for the run
    const struct pair *pair; // [n] the units, or NULL: n examples
    size_t n;
    int after;                 // objectives whose head stands after the tokens
    uint64_t fingerprint;      // of the data
    uint64_t eval_fingerprint; // of the evaluation's, where there is one
    const char *where;         // the data's name; borrowed
    const char *loss;          // its name
    json_t *settings;          // what else must be the same on --resume; taken over
};
// Adds to the metrics of an update; `due`: those of an evaluation too.
typedef int result_note(void *arg, int due, json_t *line, struct err *e);

struct result {
    const struct result_options *o;
    struct run run;
    struct offline source;
    result_note *note; // the program's, or NULL
    void *arg;
    const char *where;
    struct objective *objective;
    struct keep keep;
    struct best best;
    double eval_loss; // of the last evaluation; NAN: there was none
    struct directory_output out;
    int64_t total_steps;
    char fingerprint[24]; // of what must be the same for the same result
    int overwrite;        // the result may take the place of another one
    int complete;         // with --resume: it is there already
};

// As run_open.
int result_open(struct result *r, const struct result_options *o, const char *program, int any_head,
                struct err *e);
// Plans the updates and makes PATH.partial, unless the result is there already and only to be gone
// on with (`complete`, and result_train has nothing to do). Until result_train the program may put
// another model in the place of run.model; what it leaves in the directory result_scratch of
// PATH.partial goes away at the end.
int result_begin(struct result *r, const struct result_plan *plan, struct err *e);
// All updates, then the finished directory. beside: as for run_prepare. STATUS_AGAIN: stopped by a
// signal, with the state saved in PATH.partial.
int result_train(struct result *r, struct objective *objective, struct work_bytes beside,
                 struct err *e);
// Unless the run failed with a state to go on from, nothing unfinished is left.
void result_close(struct result *r, int failed);

#endif
