// SPDX-License-Identifier: MIT
// The model card of a run's result: README.md of the directory, as model hubs show it. All of it
// follows from input, options and seed; it names no times and no places.
#ifndef TRAIN_CARD_H
#define TRAIN_CARD_H

#include "base/error.h"
#include <jansson.h>
#include <stdint.h>

struct card {
    const char *program, *base; // base: fingerprint of the model that training began with
    const json_t *history;      // lines of provenance; the last is the program's own
    const json_t *settings;     // of the run, names and values; NULL: not known
    int64_t updates;
    uint64_t num_tokens; // trained
    double loss;         // of the last update; NAN: not told
    const char *chosen;  // why the model is that of this update; "": not told
};

// Writes README.md in the directory `at`, to which the base's files have been copied. The base's
// own README.md is kept as README-base.md; where the base came with one, that stays, so that the
// card of the first model goes with all that is made of it.
int card_write(int at, const struct card *c, struct err *e);

#endif
