// SPDX-License-Identifier: MIT
// A stream of pairs in memory: all its records, and which two belong together (see pairing.h). The
// two may be anywhere in the stream.
#ifndef TRAIN_PAIRS_H
#define TRAIN_PAIRS_H

#include "train/dataset.h"
#include "train/pairing.h"

struct pairs {
    struct dataset data;     // all records, in the stream's order
    struct pairing pairing;  // of their frame, which is that of data.example
    const struct pair *pair; // [n] all of them, in the order of their first records: pairing's
    size_t n;
    uint64_t fingerprint; // of the data, and of which records belong together
};

// Reads `path` to its proven end. `wish`: as for dataset_read; the columns of text are set here.
// Refuses, by the record's id, what pairing_add and pairing_check refuse, and records without
// trained token. The tokenizer is the caller's to check (data.stream).
int pairs_read(struct pairs *p, const char *path, struct dataset_wish wish, struct err *e);
// -1 (STATUS_FAILED): record i of a frame has no trained token.
int pairs_refuse_untrained(const struct frame *f, size_t i, const char *where, struct err *e);
void pairs_release(struct pairs *p); // fine after a failure, and for zeros

#endif
