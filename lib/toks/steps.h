// SPDX-License-Identifier: MIT
// How much each step of a solution helps towards the answer that is known to be right
// (arXiv 2602.01034). Two halves around logprob:
//   steps_expand  makes of a record with K steps K + 1 records: its prompt, its first k steps, and
//                 the gold answer, which alone is trained (k = 0 .. K);
//   steps_gain    takes the mean log-probability l_k of the answer in each, and writes to the
//                 record's k-th step end the gain max(0, l_k - h), h the highest l before.
// Both read frame by frame, and keep no more than a frame of each stream.
#ifndef TOKS_STEPS_H
#define TOKS_STEPS_H

#include "stream/filter.h"

// Appends the bytes that a token stands for. 0 or -1.
typedef int steps_piece(void *arg, uint32_t token, int first, struct buffer *out, struct err *e);
// Appends the ids of a text, as uint32_t. 0 or -1.
typedef int steps_encode(void *arg, const char *text, size_t size, struct buffer *out,
                         struct err *e);

struct steps {
    const char *marks; // u8 token column: 1 where a step ends; NULL: `end` tells
    const char *end;   // a step ends with each trained token whose text holds this
    const char *gold;  // text column
    const char *lead;  // text between the steps and the answer, not trained; NULL: none
    steps_piece *piece;
    steps_encode *encode;
    void *arg; // of both
};

struct steps_stats {
    uint64_t records, steps, without; // without: records that have no step
};

// Columns of the output: `mask`, `record` (id of the record it was made of), `steps` (u32: k) and
// `taken` (u32: how many of the record's tokens it begins with). A record without trained tokens
// gives none; one without a gold answer is an error. `tokenizer`: fingerprint of what `encode`
// uses.
MUST_CHECK int steps_expand(const struct steps *s, const char *tokenizer, const char *input,
                            const char *output, const struct provenance *line,
                            struct steps_stats *stats, struct err *e);

// Writes the records of `input` with the token columns `reward` (the gain at step ends, 0 at other
// trained tokens, null elsewhere) and `watermark` (max of l up to here, at step ends) and the
// sequence column `gain` (the sum of gains). `scored`: what steps_expand made of the same records,
// with the column logp:NAME.
MUST_CHECK int steps_gain(const char *input, const char *scored, const char *name,
                          const char *output, const struct provenance *line,
                          struct steps_stats *stats, struct err *e);

#endif
