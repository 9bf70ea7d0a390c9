// SPDX-License-Identifier: MIT
// Prompts for sampling: read one after another, or all at once and started over as often as needed.
#ifndef INFER_PROMPTS_H
#define INFER_PROMPTS_H

#include "base/id_set.h"
#include "stream/reader.h"

struct prompt {
    const uint32_t *token; // all tokens of the record
    size_t n;
    uint64_t number; // in order, counted over all passes
    uint64_t pass;   // how often the prompts were started over before it
    struct frame *frame;
    size_t index; // in the frame
};

enum { PROMPTS_COLUMNS_MAX = 64 };
struct prompts {
    struct stream_reader *reader;
    struct stream_header header; // of the stream
    struct frame frame;          // being read, or all of them
    struct id_set ids;           // of those read so far
    int mask;                    // column, or -1
    size_t next;                 // in frame
    uint64_t number;
    int loaded, ended;
    int kept[PROMPTS_COLUMNS_MAX];  // sequence columns that go on: index in the stream
    int place[PROMPTS_COLUMNS_MAX]; // and in the output
    size_t n_kept;
};

MUST_CHECK int prompts_open(struct prompts *p, const char *path, struct err *e);
void prompts_close(struct prompts *p);
const struct stream_header *prompts_header(const struct prompts *p);
const char *prompts_name(const struct prompts *p); // for messages
// Adds to an output header the sequence columns of the prompts (a gold answer, say) that it has not
// got already; more than PROMPTS_COLUMNS_MAX are refused.
MUST_CHECK int prompts_add_columns(struct prompts *p, struct stream_header *h, struct err *e);
// Copies their values to the last sequence of `to`.
MUST_CHECK int prompts_fill(const struct prompts *p, const struct prompt *q, struct frame *to,
                            struct err *e);

// The next prompt: 1 (the caller frees it with prompts_free), 0 at the proven end, -1. Refused are
// a second prompt of one id, since samples are told apart by it, and a record with an answer (a
// trained token), behind which sampling would go on.
MUST_CHECK int prompts_next(struct prompts *p, struct prompt **out, struct err *e);
// Reads all of them; none is an error.
MUST_CHECK int prompts_load(struct prompts *p, struct err *e);
uint64_t prompts_count(const struct prompts *p);
// After prompts_load: number i, started over at the end. NULL when memory is out.
struct prompt *prompts_at(struct prompts *p, uint64_t number, struct err *e);
void prompts_free(struct prompt *q);
const char *prompts_id(const struct prompt *q, size_t *size); // borrowed, not NUL-terminated

#endif
