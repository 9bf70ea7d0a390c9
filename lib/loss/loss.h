// SPDX-License-Identifier: MIT
// Losses. A loss is a function of log-probabilities under the policy and of columns of the tokens.
// It returns its value and c = d value / d lp, and reaches the model through c alone. A loss never
// sees a model.
//
// A kind is one `struct loss_kind loss_NAME` and one row of LOSS_KINDS; a kind, or a family of
// kinds that share a formula, is one file (loss_NAME.c). The kind says which program offers it, its
// text for --help and its parameters. Nothing is normalised here: the trainer divides the sums by
// the tokens, sequences or pairs of the whole step. All losses are to be minimised.
//
// There are two ways to depend on the policy, and a kind may support both:
//   pointwise   value[t] depends on lp[t] of trained token t alone, so that the engine may ask for
//               any piece of a batch from inside its chunked pass over the vocabulary;
//   sequences   value[i] depends on sums of lp over whole sequences, which must be known first: the
//               trainer makes a forward-only pass, asks once for all sequences of the step, and
//               then trains with c[i] on each trained token of sequence i.
#ifndef LOSS_LOSS_H
#define LOSS_LOSS_H

#include "base/error.h"
#include <stddef.h>

enum { LOSS_COLUMNS_MAX = 4 };
// In a kind's columns: log-probabilities of a frozen model, which loss_set_reference names.
#define LOSS_REFERENCE "logp:"

// All kinds, in the order of --help; the first of a use is its default.
// clang-format off
#define LOSS_KINDS(row)                                                                            \
    row(nll)                                                                                       \
    row(dft)                                                                                       \
    row(tv)                                                                                        \
    row(chi2)                                                                                      \
    row(hellinger)                                                                                 \
    row(js)                                                                                        \
    row(kl)                                                                                        \
    row(reinforce)                                                                                 \
    row(ppo_clip)                                                                                  \
    row(logistic)                                                                                  \
    row(hinge)                                                                                     \
    row(gsil_bernoulli)                                                                            \
    row(gsil_brier)                                                                                \
    row(gsil_hinge)                                                                                \
    row(gsil_kliep)                                                                                \
    row(gsil_lsif)
// clang-format on

// Numbers that a loss may have, and the names of their options.
enum loss_parameter { LOSS_CLIPRANGE, LOSS_BETA, LOSS_ALPHA, LOSS_OFFSET, LOSS_PARAMETERS };
struct loss_parameters {
    double value[LOSS_PARAMETERS];
};
extern const struct loss_parameter_spec {
    const char *name;
    double low, high;
    double value; // where no kind says another
} loss_parameter_specs[LOSS_PARAMETERS];

// Trained tokens, or a piece of them.
struct loss_tokens {
    size_t n;
    const float *lp;                       // [n]
    const float *column[LOSS_COLUMNS_MAX]; // each [n], in the order of the loss's `column`
    const float *weight;                   // [n] factors of value and c, the KL's too; NULL: 1
};

// All sequences of a step. Of kinds on pairs, 2k is a demonstration (what is preferred) and
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
    size_t where;   // of a failure of loss_evaluate: the token, by its index in the piece
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

// What is trained on: which program has the loss as a choice.
enum loss_use {
    LOSS_ON_DEMONSTRATIONS, // sft-train
    LOSS_ON_ADVANTAGES,     // reinforce-step
    LOSS_ON_PAIRS,          // pair-train
};

struct loss_kind {
    const char *name;
    const char *formula; // for --help: what follows the name and a colon
    enum loss_use use;
    const char *columns[LOSS_COLUMNS_MAX]; // token columns it needs; ends with NULL
    // Writes value[n] and c[n], and adds to what it knows of `stats` beside `value`.
    void (*pointwise)(const struct loss_parameters *p, const struct loss_tokens *t, float *value,
                      float *c, struct loss_stats *stats);
    void (*sequences)(const struct loss_parameters *p, const struct loss_sequences *s,
                      double *value, double *c, struct loss_stats *stats);
    int clips; // stats->clipped is worth a metric
    // The parameters that it has: their defaults, and what they are for --help; NULL: not this one.
    struct {
        double value;
        const char *help;
    } takes[LOSS_PARAMETERS];
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

#define LOSS_DECLARE(name) extern const struct loss_kind loss_##name;
LOSS_KINDS(LOSS_DECLARE)
#undef LOSS_DECLARE
// Kind number i in the list, or NULL behind the last.
const struct loss_kind *loss_at(size_t i);
// NULL when there is no loss of that name.
const struct loss_kind *loss_find(const char *name);

// `name` may be NULL: nll. Kinds that know both ways begin pointwise.
MUST_CHECK int loss_init(struct loss *l, const char *name, struct err *e);
// Whether the kind compares with a frozen model.
int loss_needs_reference(const struct loss *l);
// Names the frozen model: its log-probabilities are column logp:NAME. NULL: the policy itself as it
// is before each update (losses by sequence alone).
MUST_CHECK int loss_set_reference(struct loss *l, const char *name, struct err *e);
// Name of the i-th of the n_columns token columns (f32) that loss_evaluate wants.
const char *loss_column(const struct loss *l, size_t i);
// Adds COEF * KL(policy || NAME) from the text "NAME:COEF" (the last colon counts). COEF 0 only
// measures. For pointwise losses.
MUST_CHECK int loss_set_kl(struct loss *l, const char *text, struct err *e);
// Fills value[n] and c[n], the KL term included, and adds to *stats. Returns 0, or -1 with
// stats->where, the first token where a column or the result is not finite.
MUST_CHECK int loss_evaluate(const struct loss *l, const struct loss_tokens *t, float *value,
                             float *c, struct loss_stats *stats, struct err *e);
// The same for a loss by sequence. Where a result is not finite, *where is the sequence's index.
MUST_CHECK int loss_evaluate_sequences(const struct loss *l, const struct loss_sequences *s,
                                       double *value, double *c, struct loss_stats *stats,
                                       size_t *where, struct err *e);

// The KL term (loss_kl.c) of the tokens, whose columns do not count: adds coefficient times the
// estimate to value and its derivative to c. Returns the sum of the estimates, each times its
// weight.
double loss_kl_add(enum kl_estimator estimator, double coefficient, const struct loss_tokens *t,
                   const float *reference, float *value, float *c);

#endif
