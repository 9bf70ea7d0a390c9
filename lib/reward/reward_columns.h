// SPDX-License-Identifier: MIT
// The columns of a token stream that a dense reward reads and writes, by their place in the header.
// What the options ask for must be there; `reward`, `return` and `advantage` are added, or written
// over where they are there already.
#ifndef REWARD_REWARD_COLUMNS_H
#define REWARD_REWARD_COLUMNS_H

#include "reward/dense_reward.h"
#include "stream/header.h"

// -1: not asked for.
struct reward_columns {
    const struct dense_reward *d; // whose columns they are; borrowed, as the stream's name is
    const char *where;
    int mask;
    int base; // the reward itself, in place of policy and references
    int policy, reference[REWARD_REFERENCES_MAX];
    int q, value, value_end; // of a soft reward
    int mix, attention, rollout, kl[DENSE_REWARD_KL_MAX];
    int prefix, entropy;
    int prompt, step; // step: where the stream has it
    int reward, returns, advantage;
};

// where: the name of the stream, for messages. STATUS_STREAM where a column is missing or is of
// another kind than is needed; the message names it.
MUST_CHECK int reward_columns_find(struct reward_columns *c, const struct dense_reward *d,
                                   struct stream_header *h, const char *where, struct err *e);

#endif
