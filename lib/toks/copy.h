// SPDX-License-Identifier: MIT
// Copies streams between forms and places: toks view, tee, head and cat. All functions return 0 or
// -1; a failure leaves no output file.
#ifndef TOKS_COPY_H
#define TOKS_COPY_H

#include "stream/filter.h"
#include "toks/merge.h"

// The JSONL twin, or its first line alone.
MUST_CHECK int copy_to_jsonl(const char *input, const char *output, int header_only, struct err *e);
// The binary form; `level` replaces the header's unless it is -1.
MUST_CHECK int copy_to_binary(const char *input, const char *output, int level, struct err *e);
// Passes the stream on, and writes it to `file` too, which appears when all has gone out whole.
MUST_CHECK int copy_tee(const char *input, const char *output, const char *file, struct err *e);
// `n` records after the first `skip`. With `stop` the rest is not read, and not proved whole.
MUST_CHECK int copy_head(const char *input, const char *output, uint64_t n, uint64_t skip, int stop,
                         const struct provenance *line, struct err *e);
// Several streams as one, one after the other.
MUST_CHECK int copy_cat(char **inputs, int n, enum merge_ids ids, const char *output,
                        struct err *e);

#endif
