// SPDX-License-Identifier: MIT
// A living policy under training: reads a stream as it comes, and shows a generation an update
// (formats/policy.md). What an update is, is the program's business.
//
// Generations are published one by one when the stream is known to be whole (a file) or somebody
// follows the policy; otherwise only the stream's proven end publishes. The stream is read to its
// end, also when no more updates are wanted.
#ifndef TRAIN_ONLINE_H
#define TRAIN_ONLINE_H

#include "base/progress.h"
#include "model/directory.h"
#include "stream/reader.h"
#include "train/trainer.h"

struct living {
    // The program fills these in after living_open.
    const char *program;
    int takes_back; // living_take_back may come: weights of the generation before are held
    int (*open)(void *arg, struct err *e);  // the stream's header is there: columns, batch
    int (*frame)(void *arg, struct err *e); // use the records of `read` while living_goes_on
    int (*end)(void *arg, struct err *e);   // the stream is whole: the batch that is not full
    json_t *(*settings)(void *arg, const char *model); // what a run that goes on must share
    // What else the state remembers: adds to it, and takes it back. NULL: nothing.
    int (*save)(void *arg, json_t *state, struct err *e);
    void (*load)(void *arg, const json_t *state);
    void *arg;
    // To be looked at.
    const struct run_options *o;
    struct model *model;
    struct device device;
    struct trainer trainer;
    struct stream_reader *reader;
    struct stream_header header; // of the stream
    struct frame read;
    struct metrics metrics;
    struct progress progress;
    struct policy_lock lock;
    json_t *agreed, *history;
    int locked, stopped;
    int refused;         // OUT's state is that of another run
    int created;         // OUT is of this run's making
    int live;            // each generation may be published as it comes
    int shown;           // OUT shows the masters' generation
    float *before;       // masters of the generation before
    int64_t before_step; // its number
};

// Takes the policy's lock and opens the model.
int living_open(struct living *l, const struct run_options *o, struct err *e);
// Makes the trainer. `bytes`: what the program's loss holds beside it.
int living_prepare(struct living *l, size_t bytes, struct err *e);
// All of the training. STATUS_AGAIN: stopped by a signal, with the state saved.
int living_run(struct living *l, const char *input, struct err *e);
// The end, after a failure too: `result` of what came before; returns the result of all.
int living_close(struct living *l, int result, struct err *e);
// Sequences of a step of the rollout that wrote the stream, as its header tells; 0: it does not.
int64_t living_batch_size(const struct living *l);

// An update, within `frame` and `end`: living_before, trainer_step, metrics, living_after.
int living_before(struct living *l, struct err *e);
int living_after(struct living *l, struct err *e); // publishes
// Goes back to the generation before, which ends the run. `rule` says why.
void living_take_back(struct living *l, const char *rule, double value, double limit);
int living_done(const struct living *l);    // no more updates are wanted
int living_goes_on(const struct living *l); // they are, and no signal says stop
// The part of an update's metrics that all have: step, generation, loss, ... NULL when memory is
// out; finish it with living_write_metrics, which takes it.
json_t *living_metrics(const struct living *l, const struct step_report *p, struct err *e);
int living_write_metrics(struct living *l, const struct step_report *p, json_t *line,
                         struct err *e);

#endif
