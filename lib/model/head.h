// SPDX-License-Identifier: MIT
// The vocabulary end: hidden states of wanted positions become log-probabilities, a chunk of rows
// at a time; a [tokens, vocabulary] matrix never exists.
#ifndef MODEL_HEAD_H
#define MODEL_HEAD_H

#include "model/decoder.h"

// Outputs of a pass, arrays of the host; each may be NULL.
struct head_result {
    float *logp;    // [n] of the target, natural log
    float *entropy; // [n]
    uint32_t *best; // [n] the most likely token
    float *logit;   // [n] of the target
    float *value;   // [n] logsumexp of the logits: logp = logit - value
    float *kl;      // [n] KL(model || reference) over the vocabulary, in nats (head_score)
    float *reverse; // [n] KL(reference || model)
    // The k most likely tokens and their log-probabilities, [n, k], falling; ties: smaller id
    // first.
    size_t k;
    uint32_t *top;
    float *top_logp;
    // Asked for: all of these under softmax(logits / temperature). 0, as without the field: 1.
    float temperature;
};

// The same from position `first` on.
struct head_result head_result_at(const struct head_result *all, size_t first);

// A frozen model at the same rows, with the same vocabulary. model == NULL: none.
struct head_beside {
    const struct model *model;
    const float *hidden; // [n, its hidden]
};
// Models beside the one that is scored.
struct head_company {
    struct head_beside contrast; // the logits z become z + weight (z - z_contrast)
    float weight;
    struct head_beside reference; // of kl and reverse
};

// Log-probabilities of target[i] after hidden[i]. hidden [n, end_width], the device's; target [n],
// the host's. `company` may be NULL.
MUST_CHECK int head_score(struct device *d, const struct model *m, const float *hidden,
                          const uint32_t *target, size_t n, const struct head_company *company,
                          const struct head_result *out, struct err *e);

// A loss, the host's work, asks for c[i] = d loss / d logp[i] of rows first .. first+n-1, given
// their logp.
typedef int head_loss(void *arg, size_t first, size_t n, const float *logp, float *c,
                      struct err *e);
// Divergences that a loss adds, over the whole vocabulary: kl KL(model || reference) + reverse
// KL(reference || model) at each row. reference.model == NULL: the uniform distribution.
enum { HEAD_TERMS_MAX = 3 };
struct head_terms {
    struct head_term {
        struct head_beside reference;
        double kl, reverse;              // coefficients; both 0: only measured
        float *kl_value, *reverse_value; // [n] out: the divergences
    } term[HEAD_TERMS_MAX];
    size_t n;
};
// One pass with the loss fused in: scores, asks for c, and goes backward: gradient of the head, and
// dhidden [n, end_width] (overwritten). `terms` may be NULL; they are those of temperature 1. What
// looks at a second model, and the most likely tokens, are head_score's alone.
MUST_CHECK int head_train(struct device *d, struct model *m, const float *hidden,
                          const uint32_t *target, size_t n, const struct head_terms *terms,
                          const struct head_result *out, head_loss *loss, void *arg, float *dhidden,
                          struct err *e);
// Bytes of the device's work space that head_score, or head_train without terms, of n rows takes.
size_t head_score_bytes(const struct device *d, const struct model *m, size_t n);
size_t head_train_bytes(const struct device *d, const struct model *m, size_t n);
// Bytes that terms add to a head_train of n rows.
size_t head_terms_bytes(const struct model *m, size_t n);
// The reward head: value[i] = hidden[i] . w, and the way back from dvalue [n]: the gradient of w,
// and dhidden [n, end_width] (overwritten). Values and dvalue are the host's.
MUST_CHECK int head_reward(struct device *d, const struct model *m, const float *hidden, size_t n,
                           float *value, struct err *e);
MUST_CHECK int head_reward_backward(struct device *d, struct model *m, const float *hidden,
                                    size_t n, const float *dvalue, float *dhidden, struct err *e);
// logits [n, vocab] of the device, with bias, scale and cap of the model. All that is made here are
// functions of these: log-probabilities, entropies, divergences, contrasts, and what a temperature
// divides.
MUST_CHECK int head_logits(struct device *d, const struct model *m, const float *hidden, size_t n,
                           float *logits, struct err *e);
// logits [n, vocab] = z + weight (z - those of the other model); plain [n, vocab]: z itself.
MUST_CHECK int head_contrast(struct device *d, const struct model *m, const float *hidden,
                             const struct head_beside *other, float weight, size_t n, float *logits,
                             float *plain, struct err *e);

#endif
