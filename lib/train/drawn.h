// SPDX-License-Identifier: MIT
// From which distribution the samples of a stream were drawn: the policy's own, or one that a
// temperature, a truncation, a penalty or another model has changed.
#ifndef TRAIN_DRAWN_H
#define TRAIN_DRAWN_H

#include "loss/importance.h"
#include "train/dataset.h"

enum { DRAWN_POLICY, DRAWN_SAMPLER };

// Looks at the header's `sampling` and for the column logp:sampled. Samples of another distribution
// are refused where w->level says so. Where they are to be measured or weighed, c has two columns,
// logp:rollout and logp:sampled, otherwise none.
int drawn_find(struct token_columns *c, const struct importance *w, const struct stream_header *h,
               const char *where, struct err *e);
// Checks record i of a frame before it is weighed: a trained token has a finite value in both
// columns, or null in both where it was given, not drawn.
int drawn_check(const struct token_columns *c, const struct frame *f, size_t i, const char *where,
                struct err *e);

#endif
