// SPDX-License-Identifier: MIT
// Reads a stream twice: a named regular file by opening it again, anything else by keeping it in
// memory.
#ifndef STREAM_REREAD_H
#define STREAM_REREAD_H

#include "stream/filter.h"

struct twice {
    struct stream_pass pass; // `header` may grow until pass_start(&t.pass)
    const char *path;
    int keep;
    struct frame *kept;
    size_t n_kept, kept_capacity;
    size_t next; // of the kept frames, second time
    int second;
    uint64_t n_sequences; // of the first time
};

// keep: hold all in memory even if it is a file. 0 or -1; twice_release is due in any case.
int twice_open(struct twice *t, const char *path, int keep, struct err *e);
// The next frame, valid until the next call: 1, 0 at the proven end, -1.
int twice_next(struct twice *t, struct frame **f, struct err *e);
int twice_again(struct twice *t, struct err *e); // after the first 0: from the beginning
void twice_release(struct twice *t);

#endif
