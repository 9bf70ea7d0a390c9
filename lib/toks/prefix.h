// SPDX-License-Identifier: MIT
// Prompts of groups in which some samples go on from the beginning of a demonstration
// (Prefix-RFT, arXiv 2507.01679): toks prefix.
#ifndef TOKS_PREFIX_H
#define TOKS_PREFIX_H

#include "stream/filter.h"

struct prefix {
    uint64_t group;    // prompts a group
    uint64_t prefixed; // of them with a prefix; they are the last of their group
    uint64_t batch;    // groups a step
    uint64_t steps;    // 0: each demonstration once
    double low, high;  // a prefix is the first [l n] of a completion's n tokens, l uniform between
                       // a lower bound, which falls from `high` at the first step to `low` at the
                       // last by half a cosine, and `high`
    uint64_t seed;
};

struct prefix_stats {
    uint64_t demonstrations, steps, groups, prompts;
};

// Writes steps * batch * group prompts, going round the demonstrations as often as needed. Columns:
// the sequence columns of the input, `group` (text: the demonstration's id, from the second time
// round with `.1`, `.2` ...) and `prefix` (u32: tokens of the demonstration behind the prompt).
// A demonstration's prompt is all before its first trained token, its completion the rest up to the
// last trained one. The demonstrations are held in memory.
MUST_CHECK int prefix_run(const struct prefix *p, const char *input, const char *output,
                          const struct provenance *line, struct prefix_stats *stats, struct err *e);

#endif
