// SPDX-License-Identifier: MIT
// How fast this machine, as busy as it is now, trains, scores and draws with a model: measured for
// a few seconds with tokens that are made up. The weights stay what they are.
#ifndef TRAIN_PACE_H
#define TRAIN_PACE_H

#include "train/needs.h"

// Prompted: drawing, and beside it the prompts, each of them for one sample and as long.
enum pace_kind { PACE_SCORING, PACE_DRAWING, PACE_PROMPTED, PACE_TRAINING, PACES };

// Tokens per second of the sequences that pass through the model, of drawing those that are drawn.
struct pace {
    double rate[PACES]; // 0: not measured, for want of memory: see `why`
    size_t batch;       // sequences per update that training is told for
    char why[PACES][160];
};

// needs: lengths, batch (0: that of sft-train), samples in flight, and the trainer's options, as
// planned. seconds: how long each kind is measured, once weights and work space are in memory, or
// one round of it. The model must be a language model whose values may be read; afterwards it has
// masters. Each kind that the memory does not suffice for is left out.
MUST_CHECK int pace_measure(struct pace *p, struct model *m, struct device *d,
                            const struct needs_options *needs, double seconds, struct err *e);
// The rates and the time for so many tokens, as lines and as an object (NULL when memory is out).
void pace_print(const struct pace *p, const struct needs_options *o, uint64_t tokens, FILE *out);
json_t *pace_json(const struct pace *p, const struct needs_options *o, uint64_t tokens);

#endif
