// SPDX-License-Identifier: MIT
// A stream on its way through dense-reward: reads log-probability columns, or a reward that is
// there, and writes the token columns `reward`, `return` and `advantage` (null where mask = 0).
//
// A batch is a run of sequences with one value in the column `step`, or, without that column, the
// whole stream. The samples of a prompt are the sequences of one batch with one value in the group
// column (`prompt`), in any order. A baseline, whitening and prefixes look at all of a batch before
// the first of its frames can leave, so that one batch is held. Without them nothing is held back:
// memory is that of a frame. By the rule that cuts frames (formats/toks.md), a frame that is not
// full ends its step, so that a batch leaves before the next one exists.
#ifndef REWARD_REWARD_STREAM_H
#define REWARD_REWARD_STREAM_H

#include "base/progress.h"
#include "reward/dense_reward.h"
#include "stream/filter.h"

struct reward_stream_stats {
    uint64_t records, empty; // empty: without trained tokens
    uint64_t tokens;         // trained
    double total;            // sum of all rewards
};

// From the stream `input` to the stream `output` (paths, NULL: standard streams). One metrics
// object a batch. A stream without a column that is needed gives STATUS_STREAM; a trained token
// without a value, STATUS_FAILED; both name what is missing.
MUST_CHECK int reward_stream_run(const struct dense_reward *d, const char *input,
                                 const char *output, const struct provenance *line,
                                 struct metrics *metrics, struct reward_stream_stats *stats,
                                 struct err *e);

#endif
