// SPDX-License-Identifier: MIT
// What all training runs have, whatever their input and however the result appears: the lock of the
// output, model and trainer, provenance, the settings that a resumed run must share, metrics and
// progress. offline.h and online.h provide the input, result.h and publisher.h show the model.
#ifndef TRAIN_RUN_H
#define TRAIN_RUN_H

#include "base/progress.h"
#include "model/claim.h"
#include "model/directory.h"
#include "stream/header.h"
#include "train/budget.h"
#include "train/trainer.h"

struct run_options {
    struct trainer_options train;
    const char *model, *device; // directory to start from
    enum products products;
    const char *output;     // directory of the result
    const char *tokenizer;  // fingerprint of the model's, or NULL
    const char *metrics;    // file, or NULL: run_metrics_name in the model's directory
    const char *save_dtype; // of the weights: see model_save
    uint64_t memory;        // most bytes that the run may take; 0: what is available
    int64_t batch_size;     // per update
    int64_t max_steps;      // updates in all; 0: as many as the data make
    int64_t save_steps;     // the state is saved every so many updates; 0: at the end
    double save_minutes;    // and when so many have passed since the last time; 0: never
    int resume, overwrite;
    int dry_run; // everything is opened and checked, nothing trained or written: dry_run.h
    const char *input[CLAIM_INPUTS - 1]; // what is read beside the model: no output goes there
    int verbose;
    uint64_t seed;
    int argc; // for provenance
    char **argv;
};

extern const char run_state[];            // name of the state's file
enum { RUN_SAVE_MINUTES = 15 };           // the default
extern const char run_metrics_name[];     // and of the metrics'
extern const char result_scratch[];       // a directory of result.h, in OUT.partial
extern const char *const run_transient[]; // what a finished result loses

struct run {
    const struct run_options *o;
    const char *program;
    struct policy_lock lock;
    int locked;
    int there; // with --resume only: a result stands under the output's name
    struct model *model;
    struct device device;
    struct trainer trainer;
    struct metrics metrics;
    char *metrics_path;     // in the model's directory, or NULL
    char fingerprint[24];   // of the model
    struct pass_size size;  // of the largest micro-batch, as far as known
    size_t weights;         // numbers that are trained, where the model is another yet; 0: its own
    size_t reserve;         // of memory, for records that are yet to come
    struct budget budget;   // of memory, once it is prepared
    double saved;           // clock_seconds when the state was last saved
    double loss;            // of the last update; NAN: there was none
    int64_t metrics_lines;  // with a state: lines of metrics that belong to it; -1: not known
    char chosen[192];       // what the card says of the choice of this model; "": nothing
    uint64_t tokens_before; // trained before this run went on from a state
    struct progress progress;
    json_t *settings; // what a run that goes on from this one's state must share
    json_t *history;  // lines of provenance, this run's last
};

// Takes the lock and claims the output, before everything that can take time, so that what may not
// be written is refused at once; then opens the model, with `any_head` a reward model too. living:
// the output is a policy. Close it after a failure too.
int run_open(struct run *r, const struct run_options *o, const char *program, int living,
             int any_head, struct err *e);
// Makes the trainer, unless the run is a dry one. beside: what the objective takes, and what else
// the run computes.
int run_prepare(struct run *r, int64_t total_steps, struct work_bytes beside, struct err *e);
// The history becomes that of `h`, what is read (NULL: nothing), and this run's line, in which the
// model is called `role`. Sets the fingerprint.
int run_set_history(struct run *r, struct stream_header *h, const char *role, struct err *e);
// Opens the metrics, in `directory` where no file was asked for. resumed: the run goes on from a
// state; lines of later updates are dropped.
int run_open_metrics(struct run *r, const char *directory, int resumed, struct err *e);
// Whether the state is to be saved after this update, by number or by time, which begins anew then.
int run_save_due(struct run *r);
// Whether the disk has room for so many models, and states, beside what is there.
int run_check_space(const struct run *r, size_t models, size_t states, struct err *e);
// Saves the state as `state` has it (the settings, with what the program remembers; borrowed), with
// the sums of the files that are in the directory `at`, called `where`, and of the metrics. living:
// those of a policy.
int run_save_state(const struct run *r, int at, const char *where, const json_t *state, int living,
                   struct err *e);
// Loads it: *then is what was given as `state`, and the sums.
int run_load_state(struct run *r, int at, const char *where, json_t **then, struct err *e);
// Whether the files, and the metrics, that were there with the state still are what they were.
int run_check_files(const json_t *then, int at, const char *where, struct err *e);
// The same of a policy: OUT (the directory `at`) and the generation before it, if OUT shows the
// state's generation; what shows another one is made anew.
int run_check_generations(const struct run *r, const json_t *then, int at, struct err *e);
int run_check_metrics(const struct run *r, const char *directory, const json_t *then,
                      struct err *e);
// Writes the model, as the masters are, its card and, unless it is NULL, its note into the
// directory `at`.
int run_write_model(const struct run *r, int at, const struct directory_note *note, int with_loss,
                    struct err *e);
// The card alone, of a model of this run that is another than the masters: its update, trained
// tokens and loss.
int run_write_card(const struct run *r, int at, int64_t step, uint64_t num_tokens, double loss,
                   struct err *e);
// The metrics of an update that all runs have; NULL when memory is out. Finish them with
// metrics_write.
json_t *run_metrics(const struct run *r, const struct objective *objective,
                    const struct step_report *p, struct err *e);
// The last message: the number of updates between two words (the second one gets a plural), trained
// tokens, the last update's loss, the time and the rate of this run.
void run_tell_end(const struct run *r, const char *before, const char *after);
void run_close(struct run *r);

#endif
