// SPDX-License-Identifier: MIT
// Reads a stream twice: a named regular file by opening it again, anything else by keeping it in
// memory.
#ifndef STREAM_REREAD_H
#define STREAM_REREAD_H

#include "stream/filter.h"

struct reread {
    struct stream_filter pass; // `header` may grow until filter_start(&t.pass)
    const char *path;
    int keep;    // its frames are held by the filter
    size_t next; // of these, second time
    int second;
    uint64_t n_sequences; // of the first time
};

// keep: hold all in memory even if it is a file. 0 or -1; reread_release is due in any case.
MUST_CHECK int reread_open(struct reread *t, const char *path, int keep, struct err *e);
// The next frame, valid until the next call: 1, 0 at the proven end, -1.
MUST_CHECK int reread_next(struct reread *t, struct frame **f, struct err *e);
MUST_CHECK int reread_again(struct reread *t,
                            struct err *e); // after the first 0: from the beginning
void reread_release(struct reread *t);

#endif
