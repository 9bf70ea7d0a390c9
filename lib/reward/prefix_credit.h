// SPDX-License-Identifier: MIT
// The credit of a demonstration's tokens at the beginning of a sample (Prefix-RFT, arXiv
// 2507.01679): only the most uncertain of them are trained, all with the same advantage.
#ifndef REWARD_PREFIX_CREDIT_H
#define REWARD_PREFIX_CREDIT_H

#include "reward/reward.h"

// For each sequence with prefix[i] > 0: advantage[i] = (R - mean of R over the group's samples
// without a prefix) / number of the group's samples; 0 for the others. Sequences without trained
// tokens do not count. A group without a sample that has no prefix fails, and *culprit is the
// sequence.
MUST_CHECK int prefix_advantage(const struct reward_batch *b, const uint32_t *prefix,
                                double *advantage, size_t *culprit, struct err *e);

// Sets mask[t] = 1 for the share of the n tokens with the highest entropy (rounded, at least one
// where share > 0; of equal ones the earlier), and leaves the others.
MUST_CHECK int prefix_choose(const float *entropy, size_t n, double share, uint8_t *mask,
                             struct err *e);

#endif
