// SPDX-License-Identifier: MIT
// The Bradley-Terry loss of a pair of completions with one reward per token: -log sigmoid of the
// preferred completion's reward minus the other's, at the last token (sequence), or averaged over
// aligned tokens (Li et al., arXiv 2405.17888): from the first token that differs to the end of the
// longer completion; equal completions are compared at the last token only.
#ifndef LOSS_BRADLEY_TERRY_H
#define LOSS_BRADLEY_TERRY_H

#include <stddef.h>
#include <stdint.h>

// What stands beyond the end of the shorter completion: its last reward, 0, or nothing (the
// comparison ends there, but has one position at least).
enum bradley_terry_pad { PAD_HOLD, PAD_ZERO, PAD_SHORTER };
enum bradley_terry_level { LEVEL_TOKEN, LEVEL_SEQUENCE };
// The mean over all positions of the pairs, or the mean of the pairs' means.
enum bradley_terry_reduction { REDUCTION_TOKENS, REDUCTION_PAIRS };
// Names in the order of the enumerations, ended with NULL (for OPT_CHOICE).
extern const char *const bradley_terry_pads[], *const bradley_terry_levels[],
                                                   *const bradley_terry_reductions[];

struct bradley_terry {
    int level, pad, reduction; // of the enumerations
};

// A completion; n >= 1.
struct completion {
    const uint32_t *token; // [n]
    const float *reward;   // [n] after each token
    float *gradient;       // [n], where the loss is asked for
    size_t n;
};

// Positions at which the two are compared: first .. end-1, counted along the completions.
struct alignment {
    size_t first, end;
};
struct alignment bradley_terry_align(const struct bradley_terry *b, const uint32_t *preferred,
                                     size_t n_preferred, const uint32_t *other, size_t n_other);
// What a pair counts in the divisor of its batch: its positions, or 1.
double bradley_terry_weight(const struct bradley_terry *b, struct alignment a);
// The pair's part of the batch's loss: a sum of losses over positions (or their mean) times
// `scale`, which is 1 / the sum of all weights. Overwrites the gradients.
double bradley_terry_loss(const struct bradley_terry *b, struct alignment a, double scale,
                          const struct completion *preferred, const struct completion *other);
// Mean over the positions of the difference of rewards.
double bradley_terry_margin(const struct bradley_terry *b, struct alignment a,
                            const struct completion *preferred, const struct completion *other);

#endif
