// SPDX-License-Identifier: MIT
// A course of training over data in memory: epochs in seeded order, kept fractions, metrics, a
// state to go on from exactly. The model's directory appears when the course is complete; until
// then PATH.partial holds it. What the data are and which loss they have is the program's business.
#ifndef TRAIN_OFFLINE_H
#define TRAIN_OFFLINE_H

#include "base/progress.h"
#include "model/directory.h"
#include "stream/header.h"
#include "train/keep.h"
#include "train/trainer.h"

struct course_options {
    struct run_options run;
    const char *keep; // list of fractions, or NULL
    double epochs;
    int shuffle;
    int any_head;
};

#define OPTIONS_COURSE(c)                                                                          \
    OPT_REAL("num-train-epochs", &(c)->epochs, "X", 0, 1e9, "passes over the data"),               \
        OPT_INT(0, "max-steps", &(c)->run.train.max_steps, "N", 0, 1e15,                           \
                "total number of updates; overrides the epochs and repeats the data "              \
                "as often as needed; 0: off"),                                                     \
        OPT_YESNO("shuffle", &(c)->shuffle, "reorder the data in every epoch"),                    \
        OPT_TEXT(0, "keep", &(c)->keep, "LIST",                                                    \
                 "keep the model at these fractions of the training samples: `half` or numbers, "  \
                 "as OUT/half, OUT/0.25"),                                                         \
        OPT_REAL("ema", &(c)->run.train.ema, "DECAY", 0, 0.999999999,                              \
                 "keep a moving average of the weights over the updates as OUT/ema; 0: none"),     \
        OPT_INT(0, "save-steps", &(c)->run.train.save_steps, "N", 0, 1e15,                         \
                "save the state of the run every N updates; 0: only when stopped by a signal"),    \
        OPT_FLAG(0, "resume", &(c)->run.train.resume,                                              \
                 "continue from the state in OUT.partial, if there is one")

// Writes the `unit` examples of unit number i of the data.
typedef void course_fill(void *arg, size_t i, struct example *out);
// The id of the k-th of them, for messages; not NUL-terminated.
typedef const char *course_name(void *arg, size_t i, size_t k, size_t *size);
// Adds to the metrics of an update; `last`: of the last one.
typedef int course_note(void *arg, const struct step_report *report, int last, json_t *line,
                        struct err *e);

// One update from n units, in place of trainer_step; its figures are the note's business.
typedef int course_step(void *arg, const struct example *batch, size_t n,
                        struct step_report *report, struct err *e);
// Called with PATH.partial there, before the model is given its masters: the last moment to put
// another model in the place of c->model. What it leaves in the directory course_scratch of
// PATH.partial goes away at the end.
typedef int course_begin(void *arg, struct err *e);
extern const char course_scratch[];

struct course {
    const struct course_options *o;
    // The program fills these in between course_open and course_run.
    const char *program;
    const struct loss *loss;
    size_t n, unit;               // units in the data, examples in a unit
    uint64_t fingerprint;         // of the data
    struct stream_header *stream; // of the data; gets this run's provenance. Borrowed
    const char *where;            // the data's name
    course_fill *fill;
    course_name *name;
    course_note *note;
    course_step *step;   // NULL: trainer_step
    course_begin *begin; // NULL: nothing
    json_t *own;         // settings of the program that must be the same on --resume; taken over
    void *arg;
    // The course's own; model, device and trainer are there to be looked at.
    struct model *model;
    struct device device;
    struct trainer trainer;
    struct keep keep;
    struct policy_lock lock;
    int locked;
    struct directory_output out;
    struct metrics metrics;
    struct progress progress;
    json_t *settings, *history;
    size_t *order;
    uint64_t order_epoch;
    struct example *batch;
    int64_t total_steps, epoch_steps;
};

// Takes the directory's lock and opens the model (with `any_head` a reward model too). Close it
// after a failure, too.
int course_open(struct course *c, const struct course_options *o, struct err *e);
// From the data to the finished directory. STATUS_AGAIN: stopped by a signal, with the state saved
// in PATH.partial.
int course_run(struct course *c, struct err *e);
// Unless the course failed with a state to go on from, nothing unfinished is left.
void course_close(struct course *c, int failed, const struct err *e);

#endif
