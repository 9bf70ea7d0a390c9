// SPDX-License-Identifier: MIT
// The one training step that every objective goes through: micro-batches, forward and back,
// clipping, optimizer. What is trained and why is the objective's business.
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H

#include "infer/pass.h"
#include "loss/loss.h"
#include "train/optimizer.h"
#include "train/schedule.h"
#include <jansson.h>

// What decides on the size of a step, and how much of it is in memory.
struct trainer_options {
    double learning_rate, warmup_ratio, weight_decay, beta1, beta2, epsilon, max_grad_norm;
    int scheduler, optim;
    const char *scheduler_kwargs;
    int64_t warmup_steps, micro_batch_tokens;
    double temperature; // the policy is softmax(logits / temperature); 0: 1
    double ema;         // decay of the moving average of the weights; 0: none is kept
};
extern const struct trainer_options trainer_defaults;

struct trainer {
    struct model *model;
    struct pass pass;   // over the micro-batches
    struct arena arena; // of one step
    struct optimizer optimizer;
    struct schedule schedule;
    double max_grad_norm;
    // Of the device's memory:
    float *m, *v;        // [model->n_flat]; NULL where the optimizer has none
    float *ema;          // [model->n_flat] moving average of the masters, or NULL
    double ema_decay;    // ema <- decay ema + (1 - decay) master, after each update
    int64_t step;        // updates done
    uint64_t num_tokens; // trained tokens so far
};

// A sequence with the columns that the loss wants, each [n] along its tokens.
struct trainer_example {
    struct sequence sequence;
    const float *column[LOSS_COLUMNS_MAX];
    const float *weight; // [n] factors of a loss by token; all examples of a step or none (NULL)
    size_t record;       // its number in the frame that it is of
};

struct step_report {
    double loss, grad_norm, learning_rate, accuracy, entropy, kl, clipped, seconds;
    double kl_exact, kl_exact_reverse; // means over trained tokens, where they are measured
    size_t trained, tokens;            // positions with a loss; tokens passed through the model
    size_t where;                      // of a failure: see trainer_step
};

// The batch of an update, as an objective sees it.
struct step {
    const struct trainer_example *example; // [n]
    const struct sequence *sequence;       // [n] theirs
    size_t n, counted;                     // examples; those with a trained position
    struct step_report *report; // trained is there; the loss and its company to be filled in
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
    // dhidden [p->batch.n_wanted, hidden] of the device's memory.
    int (*head)(struct objective *o, const struct step *s, struct pass *p, float *dhidden,
                struct err *e);
    void (*end)(struct objective *o, const struct step *s); // the report's sums become means
    // Adds to the metrics of an update what it knows of it beside the loss.
    void (*metrics)(const struct objective *o, const struct step_report *report, json_t *line);
};

// Gives the model masters and gradients, and the moments. total_steps: of the whole run, for the
// schedule (0: unknown, only where the schedule does not need it).
int trainer_init(struct trainer *t, struct model *m, struct device *device,
                 const struct trainer_options *o, int64_t total_steps, struct err *e);
// What of the options trainer_init would refuse.
int trainer_check(const struct trainer_options *o, int64_t total_steps, struct err *e);
void trainer_release(struct trainer *t);
// Numbers per weight that a state holds: the master, the optimizer's moments, the average.
size_t trainer_copies(const struct trainer_options *o);
// Bytes of the masters, the gradient, the moments and the average of so many weights.
size_t trainer_weight_bytes(const struct trainer_options *o, size_t weights);
// And of the work space, for micro-batches up to that size, where the activations of `kept` layers
// are kept; an objective needs more.
struct work_bytes trainer_work_bytes(const struct device *d, const struct model *m,
                                     const struct pass_size *s, size_t kept);
// One update from n examples, all trained positions of which count as one batch. Fails without
// touching the weights when the loss or the gradient is not finite; where that is one example's
// fault, report->where is its index, otherwise n. A batch without trained positions is an error.
// STATUS_AGAIN: a stop was requested, and the update is given up; the weights are what they were.
int trainer_step(struct trainer *t, const struct trainer_example *example, size_t n,
                 struct objective *objective, struct step_report *report, struct err *e);
// Counts what trainer_step would, and refuses a batch without trained positions as it does, but
// computes nothing: the trainer need not be initialised.
int trainer_rehearse(struct trainer *t, const struct trainer_example *example, size_t n,
                     struct step_report *report, struct err *e);

#endif
