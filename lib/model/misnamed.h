// SPDX-License-Identifier: MIT
// Tensors under other names than transformers gives them: who wraps a model puts a part into each.
#ifndef MODEL_MISNAMED_H
#define MODEL_MISNAMED_H

#include "base/error.h"
#include "model/model.h"

// "tensor `NAME` is missing", and under which name it is there, who writes it so and what helps.
// Returns -1.
int misnamed_missing(const struct model *m, const char *name, struct err *e);

#endif
