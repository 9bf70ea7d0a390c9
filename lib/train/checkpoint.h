// SPDX-License-Identifier: MIT
// The state of a run: fp32 masters, moments, counters. One file, replaced atomically; a run that
// continues from it gives the same bits as an uninterrupted one.
#ifndef TRAIN_CHECKPOINT_H
#define TRAIN_CHECKPOINT_H

#include "train/trainer.h"
#include <jansson.h>

// The options that must be the same for a resumed run to give the same bits; programs add their
// own.
json_t *checkpoint_settings(const struct trainer_options *o, enum products products, uint64_t seed,
                            const char *model, const char *loss);
// Writes NAME (a safetensors file with tensors master, m, v, ema and the JSON `settings` in its
// metadata) in the directory `at`. `settings`: what must be the same when the run goes on, and the
// program's own counters; borrowed.
int checkpoint_save(int at, const char *name, const struct trainer *t, const json_t *settings,
                    struct err *e);
// Loads it into a trainer made with the same model and options. The file must be whole, by its
// checksum, and hold only finite numbers. *settings: a new reference.
int checkpoint_load(int at, const char *name, struct trainer *t, json_t **settings, struct err *e);
// The counters and settings of a state, and the check of its sum, without its tensors.
struct checkpoint_counts {
    int64_t step, updates;
    uint64_t num_tokens;
};
int checkpoint_look(int at, const char *name, struct checkpoint_counts *counts, json_t **settings,
                    struct err *e);
// Refuses (naming the first key) when `now` and `then` differ in a key of `now`, or in how they
// compute.
int checkpoint_agrees(const json_t *then, const json_t *now, struct err *e);

#endif
