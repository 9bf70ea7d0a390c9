// SPDX-License-Identifier: MIT
// A whole stream in memory, for trainers that pass over it more than once: 5 bytes a token and 4
// for each column that the loss wants.
#ifndef TRAIN_DATASET_H
#define TRAIN_DATASET_H

#include "stream/reader.h"
#include "train/trainer.h"

struct dataset {
    struct stream_header stream; // of the stream that was read
    struct stream_header header; // of `all`: id, token, mask, the loss's columns
    struct frame all;            // the sequences with a trained token
    struct example *example;     // [n]: the records with a trained token
    size_t n;
    size_t untrained;     // records without one: they add nothing
    uint64_t fingerprint; // of tokens, masks and the loss's columns
    size_t first_text;    // column of `all`
};

// Where the loss needs a frozen model that nobody has named: it is that of the stream's only column
// logp:NAME beside the sampler's own (rollout, sampled). None or several are an error.
int dataset_reference(struct loss *loss, const struct stream_header *h, const char *where,
                      struct err *e);
// Checks record i of a frame: its length and its tokens against what the model can take, and that
// each trained token has a finite value in the loss's columns (`column`: their indices, `mask`:
// that of the mask). Errors name stream and record.
int dataset_check(const struct frame *f, size_t i, int mask, const struct loss *loss,
                  const int *column, size_t vocab, size_t positions, const char *where,
                  struct err *e);

// Reads `path` to its proven end. `vocab`, `positions`: what the model can take; a record beyond is
// refused by its id, and so is one that lacks what the loss needs. A stream without a trained token
// is refused. The loss gets its reference if it has none yet.
int dataset_read(struct dataset *d, const char *path, struct loss *loss, size_t vocab,
                 size_t positions, struct err *e);
// The same with columns of text, one string a sequence, behind `first_text` in `all`; records
// without a trained token are kept too (and counted in `untrained`).
enum { DATASET_TEXTS_MAX = 4 };
int dataset_read_with(struct dataset *d, const char *path, struct loss *loss,
                      const char *const *text, size_t n_text, size_t vocab, size_t positions,
                      struct err *e);
const char *dataset_id(const struct dataset *d, size_t i, size_t *size); // not NUL-terminated
void dataset_release(struct dataset *d);
// Fills order[n] with 0 .. n-1, shuffled by (seed, epoch) where asked.
void index_order(size_t *order, size_t n, int shuffle, uint64_t seed, uint64_t epoch);

#endif
