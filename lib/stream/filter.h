// SPDX-License-Identifier: MIT
// What a filter is made of: a reader, a header that grows into the output's, one frame that holds
// the columns of both, and a writer.
//     filter_open(&p, "-", &e); header_add_column(&p.header, ...); filter_start(&p, "-", &e);
//     while ((more = filter_next(&p, &e)) > 0) { change p.frame; filter_write(&p, &e); }
//     if (more == 0) filter_end(&p, &e);
//     filter_release(&p);
// One whose values come from a batch of records holds frames until it knows them:
//     while ((more = filter_hold_next(&p, &f, &e)) > 0) { change any; filter_write_held(&p, n, &e);
//     }
#ifndef STREAM_FILTER_H
#define STREAM_FILTER_H

#include "stream/reader.h"
#include "stream/writer.h"

struct stream_filter {
    struct stream_reader *reader;
    struct stream_header header; // of the output: the input's and what the program adds
    struct frame frame;
    struct stream_writer *writer; // NULL before filter_start
    int have_frame;
    struct frame **held; // [n_held], in the stream's order; up to n_made there are spare ones
    size_t n_held, n_made, held_capacity;
};

// The line that a program adds to a header's provenance.
struct provenance {
    const char *program;
    int argc;
    char **argv;
    uint64_t seed;
};

// All: 0 or -1. filter_release is due after a failure too, and leaves no output then.
MUST_CHECK int filter_open(struct stream_filter *p, const char *input, struct err *e);
MUST_CHECK int filter_provenance(struct stream_filter *p, const struct provenance *line,
                                 struct err *e);
// Opens the output; from here on the header stays as it is.
MUST_CHECK int filter_start(struct stream_filter *p, const char *output, struct err *e);
// Reads the next frame: 1, 0 at the proven end, -1. Works without filter_start too.
MUST_CHECK int filter_next(struct stream_filter *p, struct err *e);
MUST_CHECK int filter_write(struct stream_filter *p, struct err *e); // the frame as it is now
// The same into a frame of its own, *f, which stays where it is until it is written.
MUST_CHECK int filter_hold_next(struct stream_filter *p, struct frame **f, struct err *e);
// Writes the first n of the frames held, as they are now, and lets go of them.
MUST_CHECK int filter_write_held(struct stream_filter *p, size_t n, struct err *e);
MUST_CHECK int filter_end(struct stream_filter *p, struct err *e);
void filter_release(struct stream_filter *p);

// Reads the whole of a stream and counts what it holds.
MUST_CHECK int filter_check(const char *input, uint64_t *sequences, uint64_t *tokens,
                            struct err *e);

#endif
