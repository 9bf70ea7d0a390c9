// SPDX-License-Identifier: MIT
// Data sets in given proportions: toks mix.
#ifndef TOKS_MIX_H
#define TOKS_MIX_H

#include "toks/merge.h"

struct mix_source {
    const char *path; // NULL or "-": standard input
    double weight;    // above 0
};

struct mix {
    const struct mix_source *source; // [n]
    int n;
    uint64_t records; // of the output; 0: as many as the weights allow
    int repeat;       // start a stream over that has too few
    enum merge_ids ids;
    uint64_t seed;
};

// Told of each source, in their order: `records` of its `available` ones are in the output.
typedef void mix_counted(const char *name, uint64_t records, uint64_t available);

// Each source's number of records is its share of the weights, rounded so that they add up. Without
// `records` the output is as long as it can be with no record twice; with `repeat` it is as short
// as it can be with each record once. Which records of a source, and in which order those of
// different sources follow each other, are drawn from the seed; those of one source stay in their
// order. Each source is read twice, and once more each time that it is started over: named files
// from the disk, a frame at a time, pipes from memory. Beside that there are 16 to 32 bytes per
// record for the ids. Streams with a column `pair` are refused: records are drawn singly.
MUST_CHECK int mix_run(const struct mix *mix, const char *output, const struct provenance *line,
                       mix_counted *counted, struct err *e);

#endif
