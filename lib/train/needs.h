// SPDX-License-Identifier: MIT
// The memory that each program which computes will take, before it runs: the sums of what the
// rooms below say of their own allocations, the same that the programs check at their start.
#ifndef TRAIN_NEEDS_H
#define TRAIN_NEEDS_H

#include "train/budget.h"
#include "train/trainer.h"
#include <stdio.h>

struct needs_options {
    const struct device *device;
    struct trainer_options train; // optim, ema and micro_batch_tokens count
    size_t batch_size;            // sequences or pairs per update; 0: each program's own default
    size_t length;                // tokens of each sequence, of rollout with its prompt
    size_t in_flight;             // samples that rollout computes together
    size_t memory;                // what each may take in all; 0: any amount
};

// In bytes.
struct need {
    const char *program;
    size_t batch;   // sequences, pairs or samples in flight; 0: it does not count
    size_t weights; // of the files, mapped: the system may take them back; trainers read them once
    size_t trained; // masters, gradient, moments
    size_t work;    // activations, logits, scratch
    size_t cache;   // keys and values of samples
    size_t peak;    // most that is resident at a time, with the process itself; where it does not
                    // fit into the memory that is allowed, the least that would do
    struct budget budget; // of a trainer; layers 0: another program
};
enum { NEED_SFT, NEED_PAIR, NEED_REWARD, NEED_REINFORCE, NEED_LOGPROB, NEED_ROLLOUT, NEEDS };

// The data come on top: 5 bytes per token and 4 for each column that the loss reads.
void needs_find(const struct model *m, const struct needs_options *o, struct need need[NEEDS]);
// A table, and the same as an object, the caller's; NULL when memory is out.
void needs_print(const struct model *m, const struct needs_options *o, FILE *out);
json_t *needs_json(const struct model *m, const struct needs_options *o);

#endif
