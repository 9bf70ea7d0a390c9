// SPDX-License-Identifier: MIT
// The one training step that every objective goes through: micro-batches, normalisation over the
// whole step, clipping, optimizer. What is trained and why is the loss's business.
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H

#include "base/option.h"
#include "infer/exact_terms.h"
#include "infer/scorer.h"
#include "loss/loss.h"
#include "train/optimizer.h"
#include "train/schedule.h"

// Options of every training program, with their names in the contract.
struct trainer_options {
    double learning_rate, warmup_ratio, weight_decay, beta1, beta2, epsilon, max_grad_norm;
    int scheduler, optim;
    const char *scheduler_kwargs;
    int64_t warmup_steps, micro_batch_tokens, max_steps, save_steps, batch_size;
    const char *save_dtype;
    int resume;
    double temperature; // the policy is softmax(logits / temperature); 0: 1
    double ema;         // decay of the moving average of the weights; 0: none is kept
};
extern const struct trainer_options trainer_defaults;

// What the main of every training program fills in.
struct run_options {
    struct trainer_options train;
    const char *model, *device; // directory to start from
    const char *output;         // directory of the result
    const char *tokenizer;      // fingerprint of the model's, or NULL
    const char *metrics;        // file, or NULL
    int quiet, verbose;
    uint64_t seed;
    int argc; // for provenance
    char **argv;
};

#define OPTIONS_TRAINER(t)                                                                         \
    OPT_GROUP("Optimizer"),                                                                        \
        OPT_REAL("learning-rate", &(t)->learning_rate, "X", 0, 1e6, "peak learning rate"),         \
        OPT_CHOICE("lr-scheduler-type", &(t)->scheduler, schedule_types,                           \
                   "how the rate changes after the warm-up"),                                      \
        OPT_TEXT(0, "lr-scheduler-kwargs", &(t)->scheduler_kwargs, "JSON",                         \
                 "parameters of the schedule, as transformers names them"),                        \
        OPT_INT(0, "warmup-steps", &(t)->warmup_steps, "N", 0, 1e15, "updates of warm-up"),        \
        OPT_REAL("warmup-ratio", &(t)->warmup_ratio, "X", 0, 1,                                    \
                 "warm-up as a share of all updates, where --warmup-steps is 0"),                  \
        OPT_CHOICE("optim", &(t)->optim, optimizer_kinds, "the optimizer"),                        \
        OPT_REAL("weight-decay", &(t)->weight_decay, "X", 0, 1e6,                                  \
                 "decoupled; acts on tensors of two or more dimensions only"),                     \
        OPT_REAL("adam-beta1", &(t)->beta1, "X", 0, 0.999999, "AdamW's first decay rate"),         \
        OPT_REAL("adam-beta2", &(t)->beta2, "X", 0, 0.999999999, "AdamW's second decay rate"),     \
        OPT_REAL("adam-epsilon", &(t)->epsilon, "X", 0, 1, "epsilon of AdamW and RMSprop"),        \
        OPT_REAL("max-grad-norm", &(t)->max_grad_norm, "X", 0, 1e30,                               \
                 "clip the gradient's norm; 0: never"),                                            \
        OPT_INT(0, "micro-batch-tokens", &(t)->micro_batch_tokens, "N", 1, 1 << 30,                \
                "tokens packed into one pass: bounds memory, does not change the result"),         \
        OPT_TEXT(0, "save-dtype", &(t)->save_dtype, "fp32|bf16|fp16",                              \
                 "type of the saved weights; without it, the checkpoint's own")

struct trainer {
    struct model *model;
    struct device *device;
    struct decoder decoder;
    struct arena arena;
    struct optimizer optimizer;
    struct schedule schedule;
    double max_grad_norm;
    size_t micro_batch_tokens;
    float *m, *v;        // [model->n_flat]; NULL where the optimizer has none
    float *ema;          // [model->n_flat] moving average of the masters, or NULL
    double ema_decay;    // ema <- decay ema + (1 - decay) master, after each update
    int64_t step;        // updates done
    uint64_t num_tokens; // trained tokens so far
    int entropy;         // also measure the policy's entropy
    float temperature;
    struct exact_terms *exact; // what the loss has beside c, or NULL; borrowed
    // Of a loss by sequence: what the step found, each [n] of its examples.
    struct scorer scorer;
    struct sequence_sums {
        double *policy, *frozen; // sums of log-probabilities over trained tokens
        double *log_ratio;       // their difference
        double *value, *c;
        size_t n, capacity;
    } sums;
};

// A sequence with the columns that the loss wants, each [n] along its tokens.
struct example {
    struct sequence sequence;
    const float *column[LOSS_COLUMNS_MAX];
};

enum normalize { NORMALIZE_TOKENS, NORMALIZE_SEQUENCES, NORMALIZE_CONSTANT };

struct step_report {
    double loss, grad_norm, learning_rate, accuracy, entropy, kl, clipped, seconds;
    double kl_exact, kl_exact_reverse; // means over trained tokens, where t->exact has them
    size_t trained, tokens;            // positions with a loss; tokens passed through the model
    size_t where;                      // of a failure: see trainer_step
};

// Gives the model masters and gradients, and the moments. total_steps: of the whole run, for the
// schedule (0: unknown, only where the schedule does not need it).
int trainer_init(struct trainer *t, struct model *m, struct device *device,
                 const struct trainer_options *o, int64_t total_steps, struct err *e);
void trainer_release(struct trainer *t);
// Bytes that training this model will hold, work space included; a loss by sequence needs
// trainer_first_pass_bytes more.
size_t trainer_bytes(const struct model *m, const struct trainer_options *o);
size_t trainer_first_pass_bytes(const struct model *m, const struct trainer_options *o);
// One update from n examples, all trained positions of which count as one batch: the loss is their
// sum divided by their number (or by n, or by n * constant). With a loss by sequence it is the sum
// over sequences divided by the number of those with a trained position, or of pairs; what
// `normalize` says does not count. Fails without touching the weights when the loss or the gradient
// is not finite; where that is one example's fault, report->where is its index, otherwise n. A
// batch without trained positions is an error.
int trainer_step(struct trainer *t, const struct example *example, size_t n,
                 const struct loss *loss, enum normalize normalize, double constant,
                 struct step_report *report, struct err *e);
// The end of an update, for objectives that go through the model on their own: from the gradients
// as they are, report->loss and ->trained; fills in the norm and the rate. Fails without touching
// the weights when loss or gradient is not finite.
int trainer_update(struct trainer *t, struct step_report *report, struct err *e);

#endif
