// SPDX-License-Identifier: MIT
// The open batch of a stream: records whose advantages wait for those that are still to come, with
// the rewards of their trained tokens in a row. Settling it writes the columns of their frames,
// which must stay where they are until then.
#ifndef REWARD_OPEN_BATCH_H
#define REWARD_OPEN_BATCH_H

#include "base/intern.h"
#include "reward/reward_record.h"

struct open_batch {
    const struct reward_columns *c; // borrowed
    size_t n_records, n_tokens;
    struct reward_record *record;     // [n_records]
    struct reward_sequence *sequence; // [n_records]: their tokens; once settled, their sums too
    double *reward;                   // [n_tokens]
    double *value;                    // [n_tokens]: returns, then advantages
    double *weight;                   // of one record's tokens
    uint32_t *prefix;                 // [n_records], where there are prefixes
    double *prefix_value;             // [n_records]: their advantages
    size_t record_capacity, sequence_capacity, reward_capacity, value_capacity, weight_capacity;
    size_t prefix_capacity, prefix_value_capacity;
    struct intern groups; // the prompts
};

void open_batch_init(struct open_batch *b, const struct reward_columns *c);
void open_batch_release(struct open_batch *b);
// Adds sequence i of the frame, with its rewards as far as other records do not count.
MUST_CHECK int open_batch_add(struct open_batch *b, struct frame *f, size_t i, struct err *e);
// Gives all records their rewards, returns and advantages. They stay until open_batch_clear.
MUST_CHECK int open_batch_settle(struct open_batch *b, struct err *e);
void open_batch_clear(struct open_batch *b); // no records; memory kept
// The frame of the first record, NULL where there is none. Those before it are done with.
const struct frame *open_batch_frame(const struct open_batch *b);

#endif
