// SPDX-License-Identifier: MIT
// Families of models: each a row that names the tensors of a checkpoint by their role in the
// decoder.
#ifndef MODEL_FAMILY_H
#define MODEL_FAMILY_H

#include "model/config.h"

struct family {
    const char *model_type;
    const char *architecture[HEAD_KINDS]; // in config.json
    const char
        *name[ROLE_COUNT]; // printf format with the layer's number; NULL: the family has none
};

const struct family *family_find(const char *model_type); // NULL: unknown
// Shape that the configuration gives a role; rows = 1 for vectors. Returns the number of
// dimensions, 0 where this model has no such tensor.
int family_shape(const struct model_config *c, enum role role, size_t *rows, size_t *cols);

#endif
