// SPDX-License-Identifier: MIT
// Writes a token stream. END is written by stream_writer_end alone: a program that fails calls
// stream_writer_abort (or dies), and every reader detects it.
#ifndef STREAM_WRITER_H
#define STREAM_WRITER_H

#include "stream/frame.h"

struct stream_writer;

// Writes the header at once. `header` is kept by reference and must not change afterwards.
// Refuses a terminal.
struct stream_writer *stream_writer_open(const char *path, struct stream_header *header,
                                         struct err *e);
// For programs that pass frames through. A frame that the canonical rule could have cut is written
// as it is, and flushed; others are taken apart and added, so that the stream stays canonical.
MUST_CHECK int stream_writer_frame(struct stream_writer *w, const struct frame *f, struct err *e);
// Adds one sequence; frames are cut by the canonical rule (formats/toks.md): a frame ends with the
// sequence that brings it to 2^18 tokens, 2^16 sequences or 2^24 bytes of text, and where the
// column `step` changes.
MUST_CHECK int stream_writer_add(struct stream_writer *w, const struct frame *f, size_t i,
                                 struct err *e);
// Ends the current frame and makes it visible to the reader. Only where `step` changes next, or at
// the end, so that frames stay canonical.
MUST_CHECK int stream_writer_flush(struct stream_writer *w, struct err *e);
// Writes END and frees what writing needs; the file takes its name at stream_writer_end. For
// programs that write several streams, which shall appear all or none.
MUST_CHECK int stream_writer_finish(struct stream_writer *w, struct err *e);
// Writes END, commits the file and releases the writer; -1 also releases it.
MUST_CHECK int stream_writer_end(struct stream_writer *w, struct err *e);
void stream_writer_abort(struct stream_writer *w); // NULL is fine; leaves no file

#endif
