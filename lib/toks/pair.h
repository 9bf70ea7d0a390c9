// SPDX-License-Identifier: MIT
// Puts samples beside the demonstrations whose prompts they answer: toks pair.
#ifndef TOKS_PAIR_H
#define TOKS_PAIR_H

#include "stream/filter.h"

struct pair_stats {
    uint64_t pairs;
    uint64_t demos;
    uint64_t unpaired; // demonstrations without a sample
};
// Told of each demonstration without a sample, in their order.
typedef void pair_unpaired(const char *id, size_t size);

// Writes two records for each of `samples`, the demonstration first, in columns `pair` (the
// sample's id), `role` (demo, sample) and `prompt`. `demos` is held in memory, `samples` (whose
// column `prompt` holds ids of `demos`) streams: what is read is written before more is waited for,
// if it has a column `step`. `unpaired` may be NULL.
MUST_CHECK int pair_run(const char *demos, const char *samples, const char *output,
                        const struct provenance *line, pair_unpaired *unpaired,
                        struct pair_stats *stats, struct err *e);

#endif
