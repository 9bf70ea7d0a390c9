// SPDX-License-Identifier: MIT
// Batches of data in memory, over and over: each epoch takes every unit once, in an order of its
// own. A unit is an example, or a pair of them.
#ifndef TRAIN_OFFLINE_H
#define TRAIN_OFFLINE_H

#include "train/dataset.h"
#include "train/pairing.h"

struct offline {
    const struct dataset *data; // borrowed, as the pairs are
    const struct pair *pair;    // [n], or NULL: each example is a unit
    size_t n;                   // units
    size_t batch_size;          // units per update; an epoch's last batch may have fewer
    int shuffle;
    uint64_t seed;
    size_t *order; // [n] of the epoch
    uint64_t order_epoch;
    struct trainer_example *batch; // [batch_size] units
    size_t first;                  // the batch's units are order[first] and so on
};

// Each example of `data` is a unit, or with `pair` each of n pairs; n, batch_size >= 1.
int offline_init(struct offline *s, const struct dataset *data, const struct pair *pair, size_t n,
                 size_t batch_size, int shuffle, uint64_t seed, struct err *e);
void offline_release(struct offline *s);
int64_t offline_epoch_steps(const struct offline *s); // updates per epoch
// Units that the first `steps` updates see.
uint64_t offline_seen(const struct offline *s, int64_t steps);
// Trained tokens of the first `steps` updates.
uint64_t offline_trained(struct offline *s, int64_t steps);
// Rows of the longest sequence that go through a model; after: its last token too.
size_t offline_longest(const struct offline *s, int after);
// Fills `batch` for the update after `step` others; returns its number of examples.
size_t offline_next(struct offline *s, int64_t step);
// What messages call example i of the batch.
struct shown offline_record(const struct offline *s, size_t i);

#endif
