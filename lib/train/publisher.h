// SPDX-License-Identifier: MIT
// A run over a stream whose result is a living policy: it shows a generation per update
// (formats/policy.md). What an update is, is the program's business.
//
// Generations are published one by one when the stream is known to be whole (a file) or somebody
// follows the policy; otherwise only the stream's proven end publishes. The stream is read to its
// end, also when no more updates are wanted.
#ifndef TRAIN_PUBLISHER_H
#define TRAIN_PUBLISHER_H

#include "train/evaluation.h"
#include "train/online.h"
#include "train/run.h"

struct publisher {
    struct run run;
    struct online source;
    // The program fills these in after publisher_open.
    int takes_back; // publisher_take_back may come: weights of the generation before are held
    int (*open)(void *arg, struct err *e); // the stream's header is there: columns, batch
    // Record i of the source's frame came; an update where it makes a batch full.
    int (*record)(void *arg, size_t i, struct err *e);
    int (*end)(void *arg, struct err *e); // the stream is whole: the batch that is not full
    json_t *(*settings)(void *arg, const char *model); // what a run that goes on must share
    // OUT shows the generation to start from, which is that of the beginning; and: the masters are
    // the last generation, which is about to be shown. NULL: nothing.
    int (*began)(void *arg, struct err *e);
    int (*finish)(void *arg, struct err *e);
    const struct evaluation_options *evaluations; // that a dry run tells of; NULL: none
    // What else the state remembers: adds to it, and takes it back. NULL: nothing.
    int (*save)(void *arg, json_t *state, struct err *e);
    int (*load)(void *arg, const json_t *state, struct err *e);
    void *arg;
    // Its own.
    int stopped;         // by publisher_take_back, of this run or of the one that it goes on from
    char why[192];       // what publisher_take_back said of it
    int refused;         // OUT's state is that of another run
    int created;         // OUT is of this run's making
    int aside;           // what it replaces is in OUT.replaced
    int live;            // each generation may be published as it comes
    int whole;           // the stream has been read to its proven end
    int shown;           // OUT shows the masters' generation
    int finished;        // it says that it is the last one
    int midway;          // an update is made, but not all is written that goes with it
    float *before;       // masters of the generation before
    int64_t before_step; // its number
    // What the state says of the stream: its identity and how many of its sequences were used.
    char then_stream[FINGERPRINT_MAX];
    uint64_t then_used;
};

// As run_open.
int publisher_open(struct publisher *p, const struct run_options *o, const char *program,
                   struct err *e);
// All of the training, after run_prepare. STATUS_AGAIN: stopped by a signal, with the state saved.
int publisher_train(struct publisher *p, const char *input, struct err *e);
// The end, after a failure too: `result` of what came before; returns the result of all.
int publisher_close(struct publisher *p, int result, struct err *e);
// After that: model and device go, behind all that lies in the device's memory.
void publisher_release(struct publisher *p);

// An update, within `record` and `end`: publisher_step, metrics, publisher_show. The examples are
// records of `batch`, by which a failure names the one that is at fault.
int publisher_step(struct publisher *p, const struct frame *batch,
                   const struct trainer_example *example, size_t n, struct objective *objective,
                   struct step_report *report, struct err *e);
// run_metrics and the generation; finish them with metrics_write.
json_t *publisher_metrics(const struct publisher *p, const struct objective *objective,
                          const struct step_report *report, struct err *e);
// Publishes. The metrics come before: a run that is killed here and goes on must not lack a line.
int publisher_show(struct publisher *p, struct err *e);
// In place of an update: goes back to the generation before, which ends the run, also for one that
// would go on from its state. `rule` says why; p->why is then the whole sentence.
MUST_CHECK int publisher_take_back(struct publisher *p, const char *rule, double value,
                                   double limit, struct err *e);

#endif
