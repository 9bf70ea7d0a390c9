// SPDX-License-Identifier: MIT
// The names of activations in transformers (ACT2FN).
#ifndef MODEL_ACTIVATION_H
#define MODEL_ACTIVATION_H

#include "ops/ops.h"

// The activation of that name: 0, or -1.
int activation_find(const char *name, enum activation *out);
const char *activation_name(enum activation kind);

#endif
