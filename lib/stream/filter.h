// SPDX-License-Identifier: MIT
// What a filter is made of: a reader, a header that grows into the output's, one frame that holds
// the columns of both, and a writer.
//     pass_open(&p, "-", &e); header_add_column(&p.header, ...); pass_start(&p, "-", &e);
//     while ((more = pass_next(&p, &e)) > 0) { change p.frame; pass_write(&p, &e); }
//     if (more == 0) pass_end(&p, &e);
//     pass_release(&p);
#ifndef STREAM_FILTER_H
#define STREAM_FILTER_H

#include "stream/reader.h"
#include "stream/writer.h"

struct stream_pass {
    struct stream_reader *reader;
    struct stream_header header; // of the output: the input's and what the program adds
    struct frame frame;
    struct stream_writer *writer; // NULL before pass_start
    int have_frame;
};

// The line that a program adds to a header's provenance.
struct provenance {
    const char *program;
    int argc;
    char **argv;
    uint64_t seed;
};

// All: 0 or -1. pass_release is due after a failure too, and leaves no output then.
int pass_open(struct stream_pass *p, const char *input, struct err *e);
int pass_provenance(struct stream_pass *p, const struct provenance *line, struct err *e);
// Opens the output; from here on the header stays as it is.
int pass_start(struct stream_pass *p, const char *output, struct err *e);
// Reads the next frame: 1, 0 at the proven end, -1. Works without pass_start too.
int pass_next(struct stream_pass *p, struct err *e);
int pass_write(struct stream_pass *p, struct err *e); // the frame as it is now
int pass_end(struct stream_pass *p, struct err *e);
void pass_release(struct stream_pass *p);

// Reads the whole of a stream and counts what it holds.
int pass_check(const char *input, uint64_t *sequences, uint64_t *tokens, struct err *e);

#endif
