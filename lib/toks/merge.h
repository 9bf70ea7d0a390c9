// SPDX-License-Identifier: MIT
// Several streams as one: their headers united, and no two records with the same id. Whoever groups
// by prompt would take the prompts `1` of two data sets for one.
#ifndef TOKS_MERGE_H
#define TOKS_MERGE_H

#include "base/id_set.h"
#include "stream/filter.h"

enum merge_ids {
    MERGE_UNIQUE, // an id that is there already is an error
    MERGE_PREFIX, // the number of its stream and a colon stand before each id
    MERGE_KEEP,   // as they are
};
extern const char *const merge_ids_names[]; // for OPT_CHOICE

enum { MERGE_ID_COLUMNS = 4 };

struct merge {
    enum merge_ids ids;
    struct id_set seen;           // of the output; empty with MERGE_KEEP
    struct frame frame;           // renamed records
    int column[MERGE_ID_COLUMNS]; // that hold ids of records, `id` first
    int n_columns;
    struct buffer text;
};

void merge_init(struct merge *m, enum merge_ids ids);
void merge_release(struct merge *m);
// Adds to `to` what the header of the next stream has beside: its tokenizer, its provenance. The
// columns must be the same; sampling settings stay when all have the same.
MUST_CHECK int merge_header(struct stream_header *to, const struct stream_reader *reader,
                            struct err *e);
// When `h`, the output's header, is complete.
MUST_CHECK int merge_start(struct merge *m, struct stream_header *h, struct err *e);
// Appends record i of `f` to m->frame: of stream number `stream` (1, 2, ...), whose name is for
// messages, and of its pass number `pass` (0, 1, ... where a stream is started over, whose records
// are then called ID.PASS).
MUST_CHECK int merge_add(struct merge *m, const struct frame *f, size_t i, int stream,
                         uint64_t pass, const char *name, struct err *e);
// All records of `f`: in m->frame, or where nothing is renamed in `f` itself.
MUST_CHECK int merge_frame(struct merge *m, struct frame *f, int stream, const char *name,
                           struct frame **out, struct err *e);

#endif
