// SPDX-License-Identifier: MIT
// The JSONL twin of a stream: one line per record, exact in both directions (formats/toks.md).
#ifndef STREAM_JSONL_H
#define STREAM_JSONL_H

#include "stream/frame.h"

// Appends sequence `i` as one line, keys in the order of the columns.
MUST_CHECK int jsonl_print_record(const struct frame *f, size_t i, struct buffer *out,
                                  struct err *e);

// Is this line a header, that is an object with the key `densepath`?
int jsonl_is_header(const char *line, size_t size);
// Adds the columns that a record shows, `id` and `token` first: known names have their types,
// other arrays are f32 per token, other numbers f32, texts string columns.
MUST_CHECK int jsonl_infer_columns(struct stream_header *h, const char *line, size_t size,
                                   struct err *e);

struct jsonl_parser {
    size_t n_columns;   // of the stream; the frame may have more
    size_t *n_values;   // [n_columns]: what this record gave a token column
    unsigned char *got; // [n_columns]
    struct buffer key, text;
};
MUST_CHECK int jsonl_parser_init(struct jsonl_parser *t, size_t n_columns, struct err *e);
void jsonl_parser_release(struct jsonl_parser *t);
// Appends the record of this line to the frame; on failure the frame is as before. Errors say
// neither file nor record.
MUST_CHECK int jsonl_parse_record(struct jsonl_parser *t, const char *line, size_t size,
                                  struct frame *f, struct err *e);

#endif
