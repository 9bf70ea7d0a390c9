// SPDX-License-Identifier: MIT
// What an optimizer does with the tensors of a step, one call a tensor; the loops are the device's
// (struct update of ops/ops.h). A parameter's new value depends only on its own old value, gradient
// and moments, so results do not depend on the number of threads or on how tensors are split.
//
// With g = grad * grad_scale, t the number of the update (from 1):
//   AdamW    m <- b1 m + (1-b1) g,  v <- b2 v + (1-b2) g^2,
//            p <- p (1 - lr wd) - lr (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps)
//   RMSprop  v <- a v + (1-a) g^2,  p <- p (1 - lr wd) - lr g / (sqrt(v) + eps)
//   SGD      p <- p (1 - lr wd) - lr g
// AdamW: Loshchilov & Hutter, "Decoupled weight decay regularization", Algorithm 2. RMSprop without
// momentum and bias correction, as torch.optim.RMSprop's defaults; its decay is decoupled here too.
#ifndef TRAIN_OPTIMIZER_H
#define TRAIN_OPTIMIZER_H

#include "ops/ops.h"

enum optimizer_kind { OPTIMIZER_ADAMW, OPTIMIZER_RMSPROP, OPTIMIZER_SGD };
// The names, in the order of the enumeration; ends with NULL (for OPT_CHOICE).
extern const char *const optimizer_kinds[];

struct optimizer {
    enum optimizer_kind kind;
    double beta1, beta2; // AdamW
    double alpha;        // RMSprop
    double epsilon;
    double weight_decay; // for tensors that decay
    int64_t step;        // updates begun; part of a saved state
};

// transformers' defaults: betas 0.9 and 0.999, epsilon 1e-8, no decay; alpha 0.99.
void optimizer_init(struct optimizer *o, enum optimizer_kind kind);
// Which moments the kind keeps; the other pointer may be NULL in optimizer_step.
int optimizer_has_m(enum optimizer_kind kind);
int optimizer_has_v(enum optimizer_kind kind);
// Begins an update: call it once, then optimizer_step for every tensor.
void optimizer_begin(struct optimizer *o);
// Updates one tensor of n elements in place, all in the device's memory. m and v start as zeros and
// belong to the tensor. `decays`: 1 for tensors of two or more dimensions. `grad_scale` multiplies
// every gradient (the clip factor, and 1/N where gradients are sums), so that scaled gradients are
// never written.
MUST_CHECK int optimizer_step(const struct optimizer *o, struct device *d, size_t n, float *param,
                              const float *grad, float *m, float *v, double lr, int decays,
                              double grad_scale, struct err *e);
// The clip factor of a gradient of that norm: min(1, max_norm / (norm + 1e-6)), as torch's
// clip_grad_norm_; max_norm 0: 1 (no clipping).
double optimizer_clip(double norm, double max_norm);

#endif
