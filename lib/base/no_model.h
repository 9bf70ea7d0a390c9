// SPDX-License-Identifier: MIT
// What was given in the place of a model, where it is none that is read.
#ifndef BASE_NO_MODEL_H
#define BASE_NO_MODEL_H

#include "base/error.h"

// *e says that something of PATH, which was given as a model, is not there. Adds what PATH seems to
// be and the way on: an adapter, weights in another form, a folder of the hub's cache, a folder
// with models in it, a name on the hub. Returns -1.
int no_model_explain(const char *path, struct err *e);

#endif
