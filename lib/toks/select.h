// SPDX-License-Identifier: MIT
// Some records of a stream, in their order: the best by a column (toks select) or a random draw
// (toks sample); and all of them in another order (toks shuf).
#ifndef TOKS_SELECT_H
#define TOKS_SELECT_H

#include "stream/filter.h"

// How many of n: a number, or a part of it (rounded, at least one).
struct select_size {
    uint64_t count;
    double fraction; // where > 0, in place of count
};
// "40", "1/3", "0.25", "half": a text with neither `.`, `/` nor letters is a number.
int select_size_parse(const char *text, struct select_size *size);

struct selection {
    const char *by;          // "sum:COLUMN", "mean:COLUMN", "COLUMN"; NULL: at random
    const char *per;         // sequence column whose values make groups (text or u32), or NULL
    struct select_size size; // of each group
    int lowest;
    uint64_t seed; // of random picks
};

struct selection_stats {
    uint64_t in, out, null; // null: records without a value
};

MUST_CHECK int select_run(const struct selection *p, const char *input, const char *output,
                          const struct provenance *line, struct selection_stats *stats,
                          struct err *e);
MUST_CHECK int select_shuffle(const char *input, const char *output, uint64_t seed,
                              const struct provenance *line, struct err *e);

#endif
