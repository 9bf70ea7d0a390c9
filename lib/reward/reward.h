// SPDX-License-Identifier: MIT
// Dense rewards, returns and advantages on plain arrays. Only trained tokens appear here: token t
// of a sequence is its t-th trained token. Everything is computed in double, by one thread.
#ifndef REWARD_REWARD_H
#define REWARD_REWARD_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

enum { REWARD_REFERENCES_MAX = 16 };

// How r_t becomes the return G_t.
enum reward_credit {
    CREDIT_TOKEN,    // sum over k >= t of gamma^(k-t) r_k
    CREDIT_SEQUENCE, // the sum of all r, on every token
    CREDIT_UNIFORM,  // the sum of all r divided by the number of tokens, on every token
    CREDIT_LAST,     // the sum of all r on the last token, 0 elsewhere
    // r itself is spread first (reward_spread), then as CREDIT_TOKEN.
    CREDIT_ATTENTION,
};
// What is subtracted from G_t. R is the sum of r over a sequence.
enum reward_baseline {
    BASELINE_NONE,
    BASELINE_BATCH,         // mean of G over the tokens of the batch
    BASELINE_PROMPT,        // mean of R over the prompt's samples
    BASELINE_LOO,           // mean of R over the prompt's other samples (leave one out)
    BASELINE_POSITION,      // mean of G_t over the prompt's samples that have a token t
    BASELINE_PROMPT_TOKENS, // mean of G over the tokens of the prompt's samples
};
// Then (x - mean) / deviation; mean and deviation of x = G - baseline over
enum reward_whiten {
    WHITEN_NONE,
    WHITEN_BATCH,    // the tokens of the batch
    WHITEN_PROMPT,   // the tokens of the prompt's samples
    WHITEN_POSITION, // the tokens t of all samples of the batch
    WHITEN_GRPO,     // R over the prompt's samples: (G - mean R) / (deviation + 1e-4); no baseline
};
// The same for r, before anything is added to it; always with the deviation of the population.
enum reward_scale {
    SCALE_NONE,
    SCALE_BATCH,    // the tokens of the batch
    SCALE_POSITION, // the tokens t of all samples of the batch
};
// Names in the order of the enumerations, NULL-ended (for OPT_CHOICE).
extern const char *const reward_credits[], *const reward_baselines[], *const reward_whitens[];
extern const char *const reward_scales[];
extern const char *const reward_variances[]; // population, sample

struct reward_options {
    double floor; // EPS; 0: none
    double clip_low, clip_high;
    double min_logp;     // -INFINITY: off
    int scale;           // enum reward_scale
    int credit;          // enum reward_credit
    double gamma;        // with CREDIT_TOKEN and CREDIT_ATTENTION only
    double beta;         // with CREDIT_ATTENTION: the share that is spread
    int baseline;        // enum reward_baseline
    int whiten;          // enum reward_whiten
    int sample_variance; // divide by n - 1 in place of n; WHITEN_GRPO always does
};

// The formula of the paper: no floor, no clipping, gamma 1, no baseline.
void reward_options_init(struct reward_options *o);
// STATUS_USAGE where options contradict each other or are out of range.
MUST_CHECK int reward_options_check(const struct reward_options *o, struct err *e);
int reward_needs_batch(const struct reward_options *o);  // baseline, whitening or scale
int reward_needs_prompt(const struct reward_options *o); // either looks at groups

// r = lp_policy - lp_reference for one token, where
//   each reference becomes log(p + floor) where floor > 0,
//   several references combine by logsumexp - log k, and none at all counts as 0;
//   r = 0 where the policy and every reference (before the floor) give less than min_logp;
//   r is then clipped to [clip_low, clip_high].
// Not finite when a value is not, unless the floor mends it.
double reward_token(const struct reward_options *o, double policy, const double *reference, int k);
double reward_clip(const struct reward_options *o, double r);

// R = the sum of r becomes r_t = beta a_t R + (1 - beta) [t = n] R, with the weights a made to add
// up to 1 (NULL: all 1/n). -1 where a weight is below 0 or not finite, or where all are 0; *culprit
// is then the token (n: all).
int reward_spread(const struct reward_options *o, size_t n, const double *weight, double *reward,
                  size_t *culprit);
// G of one sequence of n tokens.
void reward_return(const struct reward_options *o, size_t n, const double *reward, double *returns);

// A sequence of a batch: tokens start .. start + n - 1 of the batch's values.
struct reward_sequence {
    size_t start, n;
    double total; // R
    uint32_t
        group; // number of its prompt, below n_groups; not looked at where prompts do not count
};
struct reward_batch {
    const struct reward_sequence *sequence; // [n_sequences]
    size_t n_sequences, n_groups;
};

// (r - mean) / deviation in place, as o->scale says.
MUST_CHECK int reward_rescale(const struct reward_options *o, const struct reward_batch *b,
                              double *reward, struct err *e);
// Turns returns into advantages in place. Sequences without tokens do not count. On failure
// returns -1 and sets *culprit to the sequence at fault (a prompt with one sample where the options
// need others); the caller names the record.
MUST_CHECK int reward_advantage(const struct reward_options *o, const struct reward_batch *b,
                                double *value, size_t *culprit, struct err *e);

#endif
