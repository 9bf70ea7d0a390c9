// SPDX-License-Identifier: MIT
// One record of a stream as a dense reward sees it: the values of its columns at the trained tokens
// in turn, and the columns that are written. A value that is needed and null fails with
// STATUS_FAILED; the message names stream and record.
#ifndef REWARD_REWARD_RECORD_H
#define REWARD_REWARD_RECORD_H

#include "reward/reward_columns.h"
#include "stream/frame.h"

struct reward_record {
    struct frame *frame; // borrowed
    size_t i;            // its sequence there
};

// Arrays have an element for each trained token: as many as reward_record_tokens says.
size_t reward_record_tokens(const struct reward_columns *c, const struct reward_record *r);
// What the models, or the column in their place, give.
MUST_CHECK int reward_record_base(const struct reward_columns *c, const struct reward_record *r,
                                  size_t n, double *reward, struct err *e);
// The further changes in their order: each leaves the reward as it is where it is not asked for.
MUST_CHECK int reward_record_mix(const struct reward_columns *c, const struct reward_record *r,
                                 size_t n, double *reward, struct err *e);
// Shares the sum of the n rewards out by attention. `weight` is room for n numbers.
MUST_CHECK int reward_record_spread(const struct reward_columns *c, const struct reward_record *r,
                                    size_t n, double *weight, double *reward, struct err *e);
// Refuses a reward that is not finite in the end.
MUST_CHECK int reward_record_subtract_kl(const struct reward_columns *c,
                                         const struct reward_record *r, size_t n, double *reward,
                                         struct err *e);
// Writes x to an f32 column's trained tokens and null to the others.
void reward_record_write(const struct reward_columns *c, const struct reward_record *r, int column,
                         const double *x);
// Trains some tokens of the prefix before the first trained one, of which there is one, with this
// advantage. Afterwards other tokens are trained.
MUST_CHECK int reward_record_train_prefix(const struct reward_columns *c,
                                          const struct reward_record *r, double advantage,
                                          struct err *e);
// Puts "STREAM: record `ID`: " before the error.
int reward_record_refuse(const struct reward_columns *c, const struct reward_record *r,
                         struct err *e);

#endif
