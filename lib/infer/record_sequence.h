// SPDX-License-Identifier: MIT
// Records of a frame as a model takes them.
#ifndef INFER_RECORD_SEQUENCE_H
#define INFER_RECORD_SEQUENCE_H

#include "model/batch.h"
#include "stream/frame.h"

// Record i, borrowed from the frame. `mask`: the column, or -1: every token but the first is
// wanted.
struct sequence record_sequence(const struct frame *f, int mask, size_t i);
// All of the frame, the array from the arena; *wanted (or NULL): their wanted positions. NULL with
// *e filled when memory is out.
struct sequence *record_sequences(const struct frame *f, int mask, struct arena *arena,
                                  size_t *wanted, struct err *e);

#endif
