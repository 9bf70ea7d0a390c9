// SPDX-License-Identifier: MIT
// Statistics of a stream: toks stat.
#ifndef TOKS_STAT_H
#define TOKS_STAT_H

#include "base/io.h"
#include "stream/reader.h"

// Of the values of a column, or of the lengths of sequences or texts.
struct counter {
    uint64_t n;    // values, without the nulls
    uint64_t null; // not computed; of texts: empty
    double min, max, sum;
};

struct stream_stat {
    struct stream_header header;
    uint64_t sequences, tokens;
    uint64_t trained; // tokens with mask 1
    int have_mask;
    struct counter length;
    struct counter *column; // [header.n_columns]; texts: their lengths in bytes
};

enum stat_format { STAT_TEXT, STAT_TSV, STAT_JSON };

MUST_CHECK int stat_read(struct stream_stat *s, const char *input, struct err *e);
void stat_release(struct stream_stat *s);
MUST_CHECK int stat_print(const struct stream_stat *s, enum stat_format format, struct output *out,
                          struct err *e);

#endif
