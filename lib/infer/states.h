// SPDX-License-Identifier: MIT
// Hidden states of a frozen model, after its last norm, at the tokens of given sequences.
#ifndef INFER_STATES_H
#define INFER_STATES_H

#include "infer/pass.h"

struct states {
    struct pass pass;
    struct arena arena; // of one call
};

// Is told of the state [hidden size] in which the model is once it has read token t.
typedef void states_visit(void *arg, size_t sequence, size_t t, const float *state);

void states_init(struct states *s, struct model *m, struct device *device);
void states_release(struct states *s);
// Visits the tokens with mask 1 of all sequences, in order. On failure *where is the sequence at
// fault.
MUST_CHECK int states_run(struct states *s, const struct sequence *sequence, size_t n,
                          states_visit *visit, void *arg, size_t *where, struct err *e);

#endif
