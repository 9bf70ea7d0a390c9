// SPDX-License-Identifier: MIT
// What most samples of a prompt say is taken for right: toks vote.
//
// The samples of a prompt are the sequences of one batch (a run with one value in the column
// `step`, or the whole stream) with one value in the group column. Memory is that of a batch, and
// of the answers of the other streams.
#ifndef TOKS_VOTE_H
#define TOKS_VOTE_H

#include "stream/filter.h"

enum vote_score {
    VOTE_MAJORITY, // 1 for the most frequent answer, 1/k where k answers are; 0 for the others
    VOTE_SHARE,    // the part of the group's samples that give this answer
};

struct vote {
    const char *by;    // text column of the answers; an empty one is no answer: it scores 0
    const char *group; // sequence column, text or u32
    const char *as;    // f32 sequence column that is written
    enum vote_score score;
    const char *const *with; // [n_with]: streams whose samples vote too, and are not written
    int n_with;
};

struct vote_stats {
    uint64_t records, empty; // empty: without an answer
    uint64_t groups, ties;   // ties: groups whose best answers are as many
};

// A group of one sample, those of the other streams included, is refused by its name.
MUST_CHECK int vote_run(const struct vote *v, const char *input, const char *output,
                        const struct provenance *line, struct vote_stats *stats, struct err *e);

#endif
