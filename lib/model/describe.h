// SPDX-License-Identifier: MIT
// A model's description for people and for programs.
#ifndef MODEL_DESCRIBE_H
#define MODEL_DESCRIBE_H

#include "model/model.h"
#include <stdio.h>

// Lines of "name           text": the decoder's shape and switches.
void describe_print(const struct model *m, FILE *out);
// The same as an object; NULL when memory is out. The caller's.
json_t *describe_json(const struct model *m);
// With `verbose` a message that names the tensors of the files which are not used, where there are
// any: nothing of a model is left out in silence.
void describe_unused(const struct model *m, int verbose);

#endif
