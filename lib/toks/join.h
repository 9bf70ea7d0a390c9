// SPDX-License-Identifier: MIT
// The columns of two streams of the same records, side by side: toks join.
#ifndef TOKS_JOIN_H
#define TOKS_JOIN_H

#include "stream/filter.h"

// Writes the records of `left` with columns of `right`: those named in `names` (comma-separated;
// none may be in `left`), or with NULL all that `left` has not. Both streams must hold the same
// records, by id and tokens, in the same order.
MUST_CHECK int join_run(const char *left, const char *right, const char *names, const char *output,
                        const struct provenance *line, struct err *e);

#endif
