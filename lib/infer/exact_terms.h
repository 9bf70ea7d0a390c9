// SPDX-License-Identifier: MIT
// Terms of a loss that depend on a token's whole distribution, which c = d loss / d lp cannot
// express: the exact KL divergence to a frozen model, in either direction, and an entropy bonus.
// The frozen models are memory-mapped and run beside the policy; the gradient is added at the
// logits, inside the chunked pass over the vocabulary (model/head.h).
#ifndef INFER_EXACT_TERMS_H
#define INFER_EXACT_TERMS_H

#include "infer/pass.h"
#include "model/head.h"

struct exact_terms {
    struct frozen {
        struct model *model; // NULL: not used
        struct decoder decoder;
        double kl, reverse; // coefficients of KL(policy || model) and KL(model || policy)
    } frozen[2];
    struct device *device;
    int has_kl, has_reverse, has_bonus;
    size_t vocab;
    double bonus;           // the loss gets -bonus * the mean entropy
    struct head_terms head; // of one micro-batch
};

// Sums over trained tokens, without coefficients but for `loss`. What was not asked for has no
// meaning.
struct exact_stats {
    double kl, reverse, loss;
};

// `kl`, `reverse`: "DIR:COEF" with COEF of 0 or more, 0 measuring only; NULL: none. bonus 0: none.
// Models must have the policy's vocabulary. exact_terms_release is due after a failure too.
MUST_CHECK int exact_terms_open(struct exact_terms *t, const char *kl, const char *reverse,
                                double bonus, const struct model *policy, struct device *device,
                                struct err *e);
void exact_terms_release(struct exact_terms *t);
int exact_terms_any(const struct exact_terms *t);
// Positions that the policy and all of them have.
size_t exact_terms_positions(const struct exact_terms *t, const struct model *policy);
// Bytes that micro-batches of so many tokens hold beside the trainer's own.
struct work_bytes exact_terms_bytes(const struct exact_terms *t, const struct model *policy,
                                    size_t tokens);
// Runs the frozen models over a micro-batch, before the policy does, and fills t->head for
// head_train, its values in `arena`. scale: 1 / the step's normaliser.
MUST_CHECK int exact_terms_forward(struct exact_terms *t, const struct batch *b, double scale,
                                   struct arena *arena, struct err *e);
// After head_train: adds what the n tokens had.
void exact_terms_collect(const struct exact_terms *t, size_t n, struct exact_stats *sums);

#endif
