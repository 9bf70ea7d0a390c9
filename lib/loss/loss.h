// SPDX-License-Identifier: MIT
// Losses. A loss is a function of log-probabilities under the policy and of columns that came with
// the tokens. It answers with its value and with c = d value / d lp, and reaches the model through
// c alone. A loss never sees a model.
//
// A kind is one `struct loss_kind` and stands in the list of loss.c; a kind, or a family of kinds
// that share their formula, is one file (loss_NAME.c). Nothing is normalised here: the trainer
// divides the sums by the tokens, sequences or pairs of the whole step. All losses are to be
// minimised.
//
// There are two ways to depend on the policy, and a kind may know both:
//   pointwise   value[t] depends on lp[t] of trained token t alone, so that the engine may ask for
//               any piece of a batch from inside its chunked pass over the vocabulary;
//   sequences   value[i] depends on sums of lp over whole sequences, which must be known before:
//               the trainer makes a pass without a way back, asks once for all sequences of the
//               step, and then trains with c[i] on each trained token of sequence i.
#ifndef LOSS_LOSS_H
#define LOSS_LOSS_H

#include "base/error.h"
#include <stddef.h>

enum { LOSS_COLUMNS_MAX = 4 };
// In a kind's columns: log-probabilities of a frozen model, which loss_set_reference names.
#define LOSS_REFERENCE "logp:"

struct loss_parameters {
    double cliprange; // ppo-clip: default 0.2
    double beta;      // pairs and divergences: default 0.1
    double alpha;     // chi2: default 0.5; gsil: default 0.01
    double offset;    // gsil: default 2
};

// Trained tokens, or a piece of them.
struct loss_tokens {
    size_t n;
    const float *lp;                       // [n]
    const float *column[LOSS_COLUMNS_MAX]; // each [n], in the order of the loss's `column`
};

// All sequences of a step. Of kinds with `pairs`, 2k is a demonstration (what is preferred) and
// 2k + 1 its sample.
struct loss_sequences {
    size_t n;
    const double *log_ratio; // [n] sum over trained tokens of lp - frozen lp
};

// Sums over tokens (or sequences), for the metrics. Add piece by piece in a fixed order.
struct loss_stats {
    double value;   // sum of the main loss's values
    double kl;      // sum of the KL term's estimates, without its coefficient
    double clipped; // those whose gradient a clip or a bound has changed
};

// Estimates of KL(policy || reference) from tokens drawn from the policy, with d = lp - reference
// (Schulman, "Approximating KL divergence", 2020). Gradients are those of the expression with the
// tokens held fixed: over draws from the policy, that of k1 is 0 on average, that of k2 is the
// KL's, that of k3 is the one of GRPO, near the KL's where d is small.
enum kl_estimator {
    KL_K3, // e^-d - 1 + d: unbiased, never negative, small variance; the default
    KL_K1, // d: unbiased
    KL_K2, // d^2 / 2: biased, never negative
};
extern const char *const kl_estimators[]; // names in this order, NULL-ended

struct loss_kind {
    const char *name;
    const char *columns[LOSS_COLUMNS_MAX]; // token columns it needs; ends with NULL
    // Writes value[n] and c[n], and adds to what it knows of `stats` beside `value`.
    void (*pointwise)(const struct loss_parameters *p, const struct loss_tokens *t, float *value,
                      float *c, struct loss_stats *stats);
    void (*sequences)(const struct loss_parameters *p, const struct loss_sequences *s,
                      double *value, double *c, struct loss_stats *stats);
    int pairs;
    int clips;    // stats->clipped is worth a metric
    double alpha; // default of that parameter
};

// A loss as a trainer uses it: a kind, its parameters, and on demand a KL term.
struct loss {
    const struct loss_kind *kind;
    struct loss_parameters parameters;
    int by_sequence;     // `sequences` is used, not `pointwise`
    int frozen_self;     // the frozen side is the policy before the update: needs no column
    size_t n_columns;    // columns needed in all, the KL's last
    char reference[256]; // "logp:NAME", or "" before it is named
    int has_kl;
    double kl_coefficient;
    char kl_column[256]; // "logp:NAME"
    int kl_estimator;    // enum kl_estimator
};

extern const struct loss_kind loss_nll, loss_dft, loss_reinforce, loss_ppo_clip;
extern const struct loss_kind loss_tv, loss_chi2, loss_hellinger, loss_js, loss_kl;
extern const struct loss_kind loss_logistic, loss_hinge;
extern const struct loss_kind loss_gsil_bernoulli, loss_gsil_brier, loss_gsil_hinge,
    loss_gsil_kliep, loss_gsil_lsif;
// NULL when there is no loss of that name.
const struct loss_kind *loss_find(const char *name);

// `name` may be NULL: nll. Kinds that know both ways begin pointwise.
int loss_init(struct loss *l, const char *name, struct err *e);
// Whether the kind compares with a frozen model.
int loss_needs_reference(const struct loss *l);
// Names the frozen model: its log-probabilities are column logp:NAME. NULL: the policy itself as it
// is before each update (losses by sequence alone).
int loss_set_reference(struct loss *l, const char *name, struct err *e);
// Name of the i-th of the n_columns token columns (f32) that loss_evaluate wants.
const char *loss_column(const struct loss *l, size_t i);
// Adds COEF * KL(policy || NAME) from the text "NAME:COEF" (the last colon counts). COEF 0 only
// measures. For pointwise losses.
int loss_set_kl(struct loss *l, const char *text, struct err *e);
// Fills value[n] and c[n], the KL term included, and adds to *stats. Returns 0, or -1 with the
// error naming the first token (by its index in this piece) where a column or the result is not
// finite.
int loss_evaluate(const struct loss *l, const struct loss_tokens *t, float *value, float *c,
                  struct loss_stats *stats, struct err *e);
// The same for a loss by sequence. Where a result is not finite, *where is the sequence's index.
int loss_evaluate_sequences(const struct loss *l, const struct loss_sequences *s, double *value,
                            double *c, struct loss_stats *stats, size_t *where, struct err *e);

// The KL term (loss_kl.c): adds coefficient times the estimate to value and its derivative to c.
// Returns the sum of the estimates.
double loss_kl_add(enum kl_estimator estimator, double coefficient, size_t n, const float *lp,
                   const float *reference, float *value, float *c);

#endif
