// SPDX-License-Identifier: MIT
// Importance sampling of tokens that another distribution than the policy's has drawn: a token, or
// a sequence, counts as the policy's probability of it divided by the sampler's. The weights are
// held fixed, as advantages are. A weight far above 1 makes the estimate noisy: it is bounded
// (truncate; Ionides, "Truncated importance sampling", 2008) or what lies outside of the bounds
// counts nothing (mask).
#ifndef LOSS_IMPORTANCE_H
#define LOSS_IMPORTANCE_H

#include <stddef.h>
#include <stdint.h>

enum importance_level {
    IMPORTANCE_REFUSE, // samples of another distribution are refused
    IMPORTANCE_NONE,   // they are taken as the policy's own
    IMPORTANCE_TOKEN,
    IMPORTANCE_SEQUENCE, // the ratio of the whole sequence, at each of its tokens
};
enum importance_mode { IMPORTANCE_TRUNCATE, IMPORTANCE_MASK };
// Names in the order of the enumerations, ended with NULL (for OPT_CHOICE).
extern const char *const importance_levels[], *const importance_modes[];

struct importance {
    int level, mode;  // of the enumerations
    double low, high; // bounds of the ratio, high > 0; INFINITY: none
};

// Sums over trained tokens that were drawn; of ratios, over tokens or sequences.
struct importance_stats {
    double difference; // |log policy - log sampler|
    double kl;         // log sampler - log policy: an estimate of KL(sampler || policy)
    double weight;
    size_t tokens;
    size_t outside, ratios; // ratios beyond a bound, of how many
};

// A sequence of n tokens; those from the second on that have a mask are trained. policy, sampler:
// log-probabilities [n]; a trained token without was given, not drawn: its weight is 1, and it does
// not count. Adds to *stats, and where the level is that of tokens or sequences fills `weight` [n].
void importance_weigh(const struct importance *w, size_t n, const uint8_t *mask,
                      const float *policy, const float *sampler, float *weight,
                      struct importance_stats *stats);

#endif
