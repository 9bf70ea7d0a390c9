// SPDX-License-Identifier: MIT
// A journal of a command's answers, recorded as they arrive, so that a second run asks only for the
// rest: JSON lines, first the command and the form of the questions, then one answer per line, in
// the order of the records.
#ifndef TOKS_JOURNAL_H
#define TOKS_JOURNAL_H

#include "base/error.h"
#include "base/memory.h"

#include <stdint.h>

struct journal {
    const char *path; // NULL: there is none, and all of these do nothing
    int fd;
    struct buffer text; // read ahead
    size_t at;
    uint64_t line; // of the last one returned
    int64_t whole; // bytes of the file up to the end of that line
    int reading;
};

// Opens or makes the file and locks it. `about` (JSON, no line break) must be what it says of
// itself. A last line that was cut off is dropped.
MUST_CHECK int journal_open(struct journal *j, const char *path, const char *about, struct err *e);
void journal_close(struct journal *j);
// The next answer that is there, for the record of this id and tokens: 1, 0 when there are no more
// (ask, and journal_add), -1: it is another record's.
MUST_CHECK int journal_next(struct journal *j, const char *id, size_t id_size, uint64_t tokens,
                            const char **answer, size_t *size, struct err *e);
MUST_CHECK int journal_add(struct journal *j, const char *id, size_t id_size, uint64_t tokens,
                           const char *answer, size_t size, struct err *e);
// After the last record: 0, or -1 when there are answers left.
MUST_CHECK int journal_finish(struct journal *j, struct err *e);

#endif
