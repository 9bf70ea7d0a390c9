// SPDX-License-Identifier: MIT
// The one training step that every objective goes through: micro-batches, forward and back,
// clipping, optimizer. What is trained and why is the objective's business.
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H

#include "base/option.h"
#include "infer/pass.h"
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
                   "how the rate goes on after the warm-up"),                                      \
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
    struct pass pass;   // over the micro-batches
    struct arena arena; // of one step
    struct optimizer optimizer;
    struct schedule schedule;
    double max_grad_norm;
    float *m, *v;        // [model->n_flat]; NULL where the optimizer has none
    float *ema;          // [model->n_flat] moving average of the masters, or NULL
    double ema_decay;    // ema <- decay ema + (1 - decay) master, after each update
    int64_t step;        // updates done
    uint64_t num_tokens; // trained tokens so far
};

// A sequence with the columns that the loss wants, each [n] along its tokens.
struct example {
    struct sequence sequence;
    const float *column[LOSS_COLUMNS_MAX];
};

struct step_report {
    double loss, grad_norm, learning_rate, accuracy, entropy, kl, clipped, seconds;
    double kl_exact, kl_exact_reverse; // means over trained tokens, where they are measured
    size_t trained, tokens;            // positions with a loss; tokens passed through the model
    size_t where;                      // of a failure: see trainer_step
};

// The batch of an update, as an objective sees it.
struct step {
    const struct example *example;   // [n]
    const struct sequence *sequence; // [n] theirs
    size_t n, counted;               // examples; those with a trained position
    struct step_report *report;      // trained is there; the loss and its company to be filled in
};

// What is trained: a head of the model and a loss at it. token_objective.h is the vocabulary's,
// reward_objective.h that of one number a position. All calls return 0, or -1 with the error.
struct objective {
    int after;    // the head stands after the trained tokens, not before them: see packer
    size_t group; // examples that must be in one micro-batch
    // Once a step, before the first micro-batch: finds what the sums are divided by. A failure that
    // is one example's fault has its index in report->where.
    int (*begin)(struct objective *o, const struct step *s, struct err *e);
    // A micro-batch is packed, the model has not run; or NULL. What it allocates may be p->arena's.
    int (*prepare)(struct objective *o, const struct step *s, struct pass *p, struct err *e);
    // The model has run: adds to the gradient of the head and to the report, and fills
    // dhidden [p->batch.n_wanted, hidden].
    int (*head)(struct objective *o, const struct step *s, struct pass *p, float *dhidden,
                struct err *e);
    void (*end)(struct objective *o, const struct step *s); // the report's sums become means
};

// Gives the model masters and gradients, and the moments. total_steps: of the whole run, for the
// schedule (0: unknown, only where the schedule does not need it).
int trainer_init(struct trainer *t, struct model *m, struct device *device,
                 const struct trainer_options *o, int64_t total_steps, struct err *e);
void trainer_release(struct trainer *t);
// Bytes that training this model will hold, work space included; an objective may need more.
size_t trainer_bytes(const struct model *m, const struct trainer_options *o);
// One update from n examples, all trained positions of which count as one batch. Fails without
// touching the weights when the loss or the gradient is not finite; where that is one example's
// fault, report->where is its index, otherwise n. A batch without trained positions is an error.
int trainer_step(struct trainer *t, const struct example *example, size_t n,
                 struct objective *objective, struct step_report *report, struct err *e);

#endif
