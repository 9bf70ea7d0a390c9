// SPDX-License-Identifier: MIT
// Training on pairs as they arrive: one update per batch of pairs, and one generation per update.
#ifndef TRAIN_PAIR_ONLINE_H
#define TRAIN_PAIR_ONLINE_H

#include "train/pair_train.h"

// See pair_train_run. The loss is borrowed; it gets its reference from the stream if it has none.
int pair_online_run(const struct pair_train_options *o, struct loss *loss, const char *input,
                    struct err *e);

#endif
