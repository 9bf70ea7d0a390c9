// SPDX-License-Identifier: MIT
// Reads a token stream: zstd-compressed, plain binary or JSONL twin, recognized by the first bytes.
#ifndef STREAM_READER_H
#define STREAM_READER_H

#include "stream/frame.h"

struct stream_reader;

// `path` NULL or "-": standard input. Reads the header. NULL with *e filled on failure
// (STATUS_STREAM where the bytes are at fault; the message names the file).
struct stream_reader *stream_reader_open(const char *path, struct err *e);
void stream_reader_close(struct stream_reader *r); // NULL is fine
const struct stream_header *stream_reader_header(const struct stream_reader *r);
const char *stream_reader_name(const struct stream_reader *r); // for messages
// Reads the next frame into `f` (cleared first). The frame's header must start with the stream's
// columns, in order. Returns 1, or 0 when the stream ended whole (END seen, counts and checksum
// right, nothing but whole streams with agreeing headers behind it), or -1. A reader that stops
// before 0 has not shown that the stream is whole.
MUST_CHECK int stream_reader_next(struct stream_reader *r, struct frame *f, struct err *e);
uint64_t stream_reader_sequences(const struct stream_reader *r); // read so far
uint64_t stream_reader_tokens(const struct stream_reader *r);
// An estimate of the sequences in all, from the share of the file that they take; 0: a pipe.
double stream_reader_expected(const struct stream_reader *r);

#endif
