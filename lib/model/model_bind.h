// SPDX-License-Identifier: MIT
// Maps the tensors of the files to those of the decoder.
#ifndef MODEL_MODEL_BIND_H
#define MODEL_MODEL_BIND_H

#include "model/model.h"

// Finds every tensor that the configuration asks for, checks it, and sets m->globals, m->layer and
// m->head_norm; counts the others.
MUST_CHECK int bind_parameters(struct model *m, struct err *e);
// Points the tensors to a copy of the weights as the files have them, to be filled. Returns the
// bytes of the copy, and with NULL does nothing else.
size_t bind_copy(struct model *m, char *copy);
// Points the tensors to the masters and gradients, once they are there.
void bind_masters(struct model *m);
// The decoder's tensor of a parameter, laid out as in the file.
struct tensor *bind_tensor(struct model *m, const struct parameter *p);

#endif
