// SPDX-License-Identifier: MIT
// A whole stream in memory, for trainers that pass over it more than once: 5 bytes per token and 4
// for each column that the loss wants.
#ifndef TRAIN_DATASET_H
#define TRAIN_DATASET_H

#include "stream/reader.h"
#include "train/trainer.h"

struct dataset {
    struct stream_header stream;     // of the stream that was read
    struct stream_header header;     // of `all`: id, token, mask, the loss's columns
    struct frame all;                // the sequences with a trained token
    struct trainer_example *example; // [n]: the records with a trained token
    size_t n;
    size_t untrained;     // records without one: they add nothing
    uint64_t fingerprint; // of tokens, masks and the loss's columns
    size_t first_text;    // column of `all`
};

// The token columns of a stream that training looks at: the mask, and those of f32 that a loss
// wants.
struct token_columns {
    int mask; // index in the stream
    size_t n;
    const char *name[LOSS_COLUMNS_MAX];
    int index[LOSS_COLUMNS_MAX];
};
// Finds the mask and the loss's columns (NULL: none). Where the loss needs a frozen model that
// nobody has named, it is that of the stream's only column logp:NAME beside the sampler's own
// (rollout, sampled), and the loss is told; none or several are an error. The names are the loss's.
int token_columns_find(struct token_columns *c, struct loss *loss, const struct stream_header *h,
                       const char *where, struct err *e);
// Checks record i of a frame: its length and its tokens against what the model can take, and that
// each trained token has a finite value in the columns. Errors name stream and record.
int token_columns_check(const struct token_columns *c, const struct frame *f, size_t i,
                        size_t vocab, size_t positions, const char *where, struct err *e);
// Record i of a frame; borrowed from it.
struct trainer_example token_columns_example(const struct token_columns *c, const struct frame *f,
                                             size_t i);

// What is read of a stream.
enum { DATASET_TEXTS_MAX = 4 };
struct dataset_wish {
    struct loss *loss;  // its columns; gets its reference if it has none yet. NULL: none
    const char *column; // one more token column of f32, or NULL
    const char *const
        *text;     // columns of text, one string a sequence: from `first_text` on in `all`
    size_t n_text; // with any, records without a trained token are kept too
    size_t vocab, positions;   // what the model can take
    const struct model *model; // whose records may be longer than it was made for; NULL: none
};
// Reads `path` to its proven end. A record beyond what the model can take is refused by its id, and
// so is one that lacks what the loss needs; a stream without a trained token is refused.
int dataset_read(struct dataset *d, const char *path, const struct dataset_wish *wish,
                 struct err *e);
void dataset_release(struct dataset *d);
// Fills order[n] with 0 .. n-1, shuffled by (seed, epoch) where asked.
void index_order(size_t *order, size_t n, int shuffle, uint64_t seed, uint64_t epoch);

#endif
