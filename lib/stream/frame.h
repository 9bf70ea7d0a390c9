// SPDX-License-Identifier: MIT
// A frame: some sequences of a stream, column-wise. What is read, changed and written at a time.
#ifndef STREAM_FRAME_H
#define STREAM_FRAME_H

#include "base/shown.h"
#include "stream/header.h"

// Values of one column. Which member counts follows from the column's type.
struct column_data {
    union {
        void *data;
        uint8_t *u8;    // [n_tokens] or [n_sequences]
        uint32_t *u32;  // "
        float *f32;     // " ; NaN: not computed
        size_t *string; // [n_sequences + 1]: where each string starts in `bytes`
    };
    size_t capacity; // elements of `data`
    char *bytes;     // text of a string column, no NULs between
    size_t bytes_capacity;
};

struct frame {
    struct stream_header *header; // describes `column`; borrowed, must outlive the frame
    size_t n_sequences, n_tokens;
    size_t *start;              // [n_sequences + 1]: first token of each sequence
    struct column_data *column; // [header->n_columns]
    size_t n_columns;           // columns that have storage
    size_t start_capacity;
};

// `header` is kept by reference. Adding columns to it later needs frame_extend.
MUST_CHECK int frame_init(struct frame *f, struct stream_header *header, struct err *e);
void frame_release(struct frame *f);
void frame_clear(struct frame *f); // no sequences; memory kept
// Gives storage to columns that the header has gained (values: NaN, 0, ""). A program that adds
// columns reads into a frame whose header is the *output* header.
MUST_CHECK int frame_extend(struct frame *f, struct err *e);
// Adds a sequence of n_tokens whose values are NaN, 0 and ""; returns its index or -1. Pointers
// into columns are void afterwards.
int64_t frame_add(struct frame *f, size_t n_tokens, struct err *e);
// Sets a string of the *last* sequence.
MUST_CHECK int frame_set_string(struct frame *f, int column, const char *text, size_t size,
                                struct err *e);
// Borrowed, not NUL-terminated.
const char *frame_string(const struct frame *f, int column, size_t sequence, size_t *size);
// For messages: a string, and what the record is called.
struct shown frame_shown(const struct frame *f, int column, size_t sequence);
struct shown frame_record(const struct frame *f, size_t sequence);
// Appends sequence `i` of `from`, whose first columns must be those of `to` by position; columns
// that `to` has beyond those get their default values.
MUST_CHECK int frame_append(struct frame *to, const struct frame *from, size_t i, struct err *e);
// Does the frame end with its last sequence by size? One that does not was ended by its stream, or
// because its `step` is complete.
int frame_is_full(const struct frame *f);
static inline size_t frame_length(const struct frame *f, size_t i)
{
    return f->start[i + 1] - f->start[i];
}

#endif
