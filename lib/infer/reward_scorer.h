// SPDX-License-Identifier: MIT
// Rewards of given sequences under a reward model, in packed batches.
#ifndef INFER_REWARD_SCORER_H
#define INFER_REWARD_SCORER_H

#include "infer/pass.h"
#include "model/head.h"

struct reward_scorer {
    struct pass pass;
};

void reward_scorer_init(struct reward_scorer *s, struct model *m, struct device *device);
void reward_scorer_release(struct reward_scorer *s);
// reward: the head's value after each wanted token of sequence 0, then of sequence 1, and so on.
// attention (or NULL), in the same places: what the last wanted token attends to in the last layer,
// mean over the heads, divided by its sum over the wanted tokens. A failure has the number of its
// sequence in *where.
MUST_CHECK int reward_scorer_run(struct reward_scorer *s, const struct sequence *sequence, size_t n,
                                 float *reward, float *attention, size_t *where, struct err *e);

#endif
