// SPDX-License-Identifier: MIT
// A whole stream in memory, for trainers that pass over it more than once: 5 bytes a token and 4
// for each column that the loss wants.
#ifndef LEARN_DATASET_H
#define LEARN_DATASET_H

#include "learn/trainer.h"
#include "stream/reader.h"

struct dataset {
    struct stream_header stream; // of the stream that was read
    struct stream_header header; // of `all`: id, token, mask, the loss's columns
    struct frame all;            // the sequences with a trained token
    struct example *example;     // [n]: the records with a trained token
    size_t n;
    size_t untrained;     // records without one: they add nothing
    uint64_t fingerprint; // of tokens and masks
};

// Reads `path` to its proven end. `vocab`, `positions`: what the model can take; a record beyond is
// refused by its id. A stream without a trained token is refused.
int dataset_read(struct dataset *d, const char *path, const struct loss *loss, size_t vocab,
                 size_t positions, struct err *e);
void dataset_release(struct dataset *d);
// Fills order[n] with 0 .. n-1, shuffled by (seed, epoch) where asked.
void dataset_order(const struct dataset *d, size_t *order, int shuffle, uint64_t seed,
                   uint64_t epoch);

#endif
